"""Views share storage and history; in-place changes move the graph on. Every case runs on both libraries and is compared."""

from __future__ import annotations

import numpy as np
import pytest

import engine

CASES = {}


def case(fn):
    CASES[fn.__name__] = fn
    return fn


def leaf(lib, *shape, seed=0):
    values = np.random.default_rng(seed).uniform(0.5, 2.0, shape)
    return lib.tensor(values, requires_grad=True)


@case
def view_changed_in_place(lib):
    x = leaf(lib, 4)
    b = x * 1
    b[1:3].mul_(3)
    return (b * b).sum(), [x]


@case
def operands_kept_with_their_old_value(lib):
    x, v = leaf(lib, 3), leaf(lib, 3, seed=1)
    y = x * 2
    y.mul_(v).add_(1).clamp_(max=2.5)
    y[1:].div_(v[1:])
    return y.pow_(v).sum(), [x, v]


@case
def view_of_view_changed(lib):
    x = leaf(lib, 3, 4)
    b = x * 2
    b[1:].t()[0].mul_(lib.tensor([5.0, 7.0], dtype=lib.float64))
    return (b ** 3).sum(), [x]


@case
def view_assigned_from_other(lib):
    x, y = leaf(lib, 3, 3), leaf(lib, 3, seed=1)
    b = x.clone()
    b[1] = y * 2
    return (b * b).sum(), [x, y]


@case
def base_changed_with_live_view(lib):
    x = leaf(lib, 4)
    b = x * 1
    v = b[:2]
    b.mul_(3)
    return (v * v).sum() + b.sum(), [x]


@case
def view_used_before_and_after(lib):
    x = leaf(lib, 4)
    b = x * 1
    v = b[:2]
    before = v.sum()
    v.add_(1)
    b.mul_(2)
    return before + (v * v).sum() + (b * b).sum(), [x]


@case
def two_views_overlap(lib):
    x = leaf(lib, 5)
    b = x * 1
    u, v = b[:3], b[2:]
    u.mul_(2)
    v.add_(u[2] * 1)
    return (u * u).sum() + (v ** 3).sum() + b.sum(), [x]


@case
def write_into_zeros(lib):
    x = leaf(lib, 3)
    out = lib.zeros(2, 3, dtype=lib.float64)
    out[0] = x
    out[1, 1:] = x[:2] * x[1:]
    return (out * out).sum(), [x]


@case
def mask_assignment(lib):
    x, y = leaf(lib, 4), leaf(lib, 2, seed=1)
    b = x * 1
    b[lib.tensor([True, False, True, False])] = y
    return (b * b).sum(), [x, y]


@case
def index_assignment_and_add(lib):
    x, y = leaf(lib, 4), leaf(lib, 3, seed=1)
    b = x * 1
    b[lib.tensor([0, 2, 3])] = y
    b[lib.tensor([1, 2])] += 5
    return (b ** 3).sum(), [x, y]


@case
def augmented_slice(lib):
    x = leaf(lib, 4)
    b = x * 1
    b[1:3] *= 3
    b[0] += 2
    return (b * b).sum(), [x]


@case
def reshape_then_change(lib):
    x = leaf(lib, 2, 3)
    b = x * 1
    b.view(-1)[::2].zero_()
    b.reshape(3, 2)[0].fill_(4.0)
    return (b * b).sum(), [x]


@case
def transpose_expand_unsqueeze(lib):
    x = leaf(lib, 2, 3)
    b = x * 1
    b.t().unsqueeze(0)[0, 1].mul_(3)
    return (b.expand(4, 2, 3) * b).sum(), [x]


@case
def detach_shares_storage(lib):
    x = leaf(lib, 3)
    b = x * 1
    b.detach().mul_(2)
    return b.sum(), [x]


@case
def chain_of_inplace(lib):
    x = leaf(lib, 3)
    b = x * 2
    b.add_(1).mul_(3).sub_(x)
    return b.sum() + (b * 2).sum(), [x]


@case
def inplace_saved_output(lib):
    x = leaf(lib, 3)
    b = (x * 1).exp_()
    return (b * 2).sum(), [x]


@case
def copy_broadcasts(lib):
    x, y = leaf(lib, 2, 3), leaf(lib, 3, seed=1)
    b = x * 1
    b.copy_(y)
    return (b * b).sum(), [x, y]


@case
def copy_casts(lib):
    x = leaf(lib, 3)
    b = lib.zeros(3)
    b.copy_(x)
    return (b * b).sum().double(), [x]


@case
def unbind_and_split_change(lib):
    x = leaf(lib, 4, 2)
    b = x * 1
    first = b[0]
    first.mul_(2)
    second = b.narrow(0, 2, 2)
    second.add_(first)
    return (b * b).sum(), [x]


@case
def diagonal_changed(lib):
    x = leaf(lib, 3, 3)
    b = x * 1
    b.diagonal().mul_(2)
    return (b * b).sum(), [x]


@case
def data_assignment_keeps_graph(lib):
    x = leaf(lib, 3)
    x.data = x.data * 2
    return (x * x).sum(), [x]


@case
def select_setitem_scalar(lib):
    x = leaf(lib, 3, 3)
    b = x * 1
    b[:, 1] = 7.0
    b[2, 2] = x[0, 0]
    return (b * b).sum(), [x]


@pytest.mark.parametrize("name", CASES)
def test_equal_to_torch(name):
    torch = pytest.importorskip("torch")
    ours, our_leaves = CASES[name](engine)
    theirs, their_leaves = CASES[name](torch)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    ours.backward()
    theirs.backward()
    for a, b in zip(our_leaves, their_leaves):
        expected = np.zeros(tuple(b.shape)) if b.grad is None else b.grad.numpy()
        got = np.zeros(tuple(a.shape)) if a.grad is None else a.grad.numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_second_derivative_equals_torch(name):
    torch = pytest.importorskip("torch")
    results = []
    for lib in (engine, torch):
        out, leaves = CASES[name](lib)
        first = lib.autograd.grad(out, leaves, create_graph=True, allow_unused=True)
        total = sum((g * g).sum() for g in first if g is not None and g.requires_grad)
        if isinstance(total, int):
            results.append(None)
            continue
        second = lib.autograd.grad(total, leaves, allow_unused=True)
        results.append([None if g is None else g.detach().numpy() for g in second])
    ours, theirs = results
    assert (ours is None) == (theirs is None)
    for a, b in zip(ours or [], theirs or []):
        np.testing.assert_allclose(0 if a is None else a, 0 if b is None else b, rtol=1e-10, atol=1e-12)


def same_error(fn, kind=RuntimeError, match=None):
    with pytest.raises(kind, match=match):
        fn(engine)
    try:
        import torch
    except ImportError:
        return
    with pytest.raises(kind):
        fn(torch)


def test_leaf_in_place_is_refused():
    same_error(lambda lib: leaf(lib, 3).add_(1), match="a leaf Variable that requires grad")
    same_error(lambda lib: leaf(lib, 3)[0].add_(1), match="view of a leaf Variable")
    same_error(lambda lib: leaf(lib, 3).__setitem__(0, 1.0), match="view of a leaf Variable")


def test_leaf_in_place_without_grad_mode():
    x = leaf(engine, 3)
    with engine.no_grad():
        x -= 0.5 * x
        x[0] = 7.0
    assert x.is_leaf and x.requires_grad and x[0].item() == 7.0


def test_changed_saved_tensor_is_an_error_that_names_operator_shape_and_line():
    x = leaf(engine, 3)
    y = x * 1
    z = y * y
    y.add_(1)  # this line
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*shape \[3\].*MulBackward0.*version 1; "
                                           r"expected version 0.*add_ at .*test_views_and_inplace.py:\d+"):
        z.sum().backward()


def test_an_operand_that_is_changed_and_also_the_other_one_is_refused():
    def run(lib):
        y = leaf(lib, 3) * 1
        y.mul_(y).sum().backward()

    same_error(run, match="modified by an inplace operation")


@pytest.mark.parametrize("change", ["base", "view", "detached", "data_of_view"])
def test_every_alias_counts_as_a_change(change):
    def run(lib):
        x = leaf(lib, 4)
        b = x * 1
        v = b[:2]
        out = (v * v).sum()
        if change == "base":
            b.mul_(2)
        elif change == "view":
            b[0] = 3.0
        elif change == "detached":
            b.detach().zero_()
        else:
            v.detach().add_(1)
        out.backward()

    same_error(run, match="modified by an inplace operation")


def loop_of_assignments(lib):
    x = leaf(lib, 4)
    out = lib.zeros(4, dtype=lib.float64)
    out[0] = x[0]
    for i in range(1, 4):
        out[i] = out[i - 1] * x[i]  # keeps out[i - 1], whose storage changes in the next round
    out.sum().backward()


def test_a_recurrence_by_assignment_is_refused():
    same_error(loop_of_assignments, match="modified by an inplace operation")


def test_saved_output_changed():
    same_error(lambda lib: _saved_output(lib), match="ExpBackward0")


def _saved_output(lib):
    y = leaf(lib, 3).exp()
    y.add_(1)
    y.sum().backward()


def test_unsaved_input_may_change():
    x = leaf(engine, 3)
    y = x * 1
    z = y + 1
    y.mul_(2)
    (z.sum() + y.sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), [3, 3, 3])


def test_expand_refuses_writes():
    same_error(lambda lib: lib.zeros(1).expand(3).add_(1), match="single memory location")
    same_error(lambda lib: lib.zeros(1).expand(3).__setitem__(0, 1.0) if lib is engine else lib.zeros(1).expand(3).add_(1))


def test_result_type_and_shape_of_in_place_forms():
    same_error(lambda lib: lib.zeros(3, dtype=lib.int64).add_(1.5), match="can't be cast")
    same_error(lambda lib: lib.zeros(2).add_(lib.zeros(3, 2)), match="doesn't match the broadcast shape")
    x = engine.zeros(2, dtype=engine.float32)
    x.add_(engine.ones(2, dtype=engine.float64))
    assert x.dtype == engine.float32


def test_view_made_under_no_grad_is_not_changed_with_grad():
    def run(lib):
        x = leaf(lib, 3) * 1
        with lib.no_grad():
            v = x[:2]
        v.mul_(2)

    same_error(run, match="no_grad mode")


def test_views_share_memory_and_versions():
    x = engine.arange(6).float()
    v = x.view(2, 3)
    v[0, 0] = 9
    assert x[0].item() == 9 and x._version == v._version == 1
    assert v._base is x and v[0]._base is x and x._base is None
    assert x.detach()._version == 1 and x.clone()._version == 0


def test_view_refuses_what_needs_a_copy():
    same_error(lambda lib: lib.zeros(2, 3).t().view(6), match="view size is not compatible")
    same_error(lambda lib: lib.zeros(2, 3).view(4, 2), match="shape '\\[4, 2\\]' is invalid for input of size 6")


def test_in_place_makes_no_cycle():
    import gc
    import weakref

    gc.disable()
    try:
        x = leaf(engine, 3)
        y = x * 1
        y.mul_(y)
        seen = weakref.ref(y.grad_fn)
        del y
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("change", ["fill_", "zero_", "copy_", "mul_", "clamp_", "normal_", "uniform_", "relu_",
                                    "setitem", "data"])
def test_changes_under_no_grad_leave_history_alone(change):
    x = leaf(engine, 3)
    y = x * 2
    node = y.grad_fn
    arguments = {"fill_": (1.0,), "copy_": (engine.ones(3),), "mul_": (3.0,), "clamp_": (0.0, 1.0)}.get(change, ())
    with engine.no_grad():
        for t in (x, y):
            if change == "setitem":
                t[0] = 5.0
            elif change == "data":
                t.data.mul_(2)
            elif change == "relu_":
                engine.relu_(t)
            else:
                getattr(t, change)(*arguments)
    assert x.requires_grad and x.is_leaf and y.requires_grad and y.grad_fn is node


def test_an_expansion_that_repeats_nothing_may_be_written_to():
    x = engine.arange(3)
    x.expand(1, -1).fill_(7)
    x.t().expand(1, 3)[0, 1] = 5
    assert x.tolist() == [7, 5, 7]
    with pytest.raises(RuntimeError, match="more than one element"):
        x.expand(2, -1).fill_(7)
