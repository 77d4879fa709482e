"""backward and grad: graphs, modes, hooks, errors, anomaly mode, depth and memory."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import engine
from tests.engine.test_views_and_inplace import same_error


def leaf(lib, *values):
    return lib.tensor(list(values), dtype=lib.float64, requires_grad=True)


def values(t):
    return t.detach().numpy().tolist()


def test_gradients_accumulate_and_can_be_cleared():
    x = leaf(engine, 1.0, 2.0)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert values(x.grad) == [4.0, 8.0]
    x.grad = None
    (x * 3).sum().backward()
    assert values(x.grad) == [3.0, 3.0]


def test_leaves_do_not_share_their_gradient():
    a, b = leaf(engine, 1.0), leaf(engine, 2.0)
    (a + b).backward()
    a.grad.zero_()
    assert values(b.grad) == [1.0]


def test_gradient_argument_and_its_errors():
    x = leaf(engine, 1.0, 2.0)
    (x * 2).backward(engine.tensor([1.0, 10.0], dtype=engine.float64))
    assert values(x.grad) == [2.0, 20.0]
    same_error(lambda lib: (leaf(lib, 1.0, 2.0) * 2).backward(), match="only for scalar outputs")
    same_error(lambda lib: (leaf(lib, 1.0, 2.0) * 2).backward(lib.ones(3, dtype=lib.float64)), match="Mismatch in shape")
    same_error(lambda lib: lib.ones(1).backward(), match="does not require grad")


def test_second_backward_needs_retain_graph():
    def twice(lib):
        y = (leaf(lib, 2.0) ** 2).sum()
        y.backward()
        y.backward()

    same_error(twice, match="backward through the graph a second time")
    x = leaf(engine, 2.0)
    y = (x**2).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert values(x.grad) == [8.0]


def test_inputs_restrict_accumulation():
    x, y = leaf(engine, 2.0), leaf(engine, 3.0)
    (x * y).backward(inputs=[x])
    assert values(x.grad) == [3.0] and y.grad is None
    same_error(lambda lib: leaf(lib, 1.0).backward(inputs=[]), match="cannot be empty")


def test_grad_of_intermediate_and_unused():
    x = leaf(engine, 2.0)
    y = x * x
    z = y * 3
    gy, gx = engine.autograd.grad(z, [y, x])
    assert values(gy) == [3.0] and values(gx) == [12.0] and x.grad is None
    other = leaf(engine, 1.0)
    assert engine.autograd.grad(x * 2, [x, other], allow_unused=True)[1] is None
    assert values(engine.autograd.grad(x * 2, [x, other], materialize_grads=True)[1]) == [0.0]
    same_error(lambda lib: lib.autograd.grad(leaf(lib, 1.0) * 2, [leaf(lib, 1.0)]), match="not have been used in the graph")
    same_error(lambda lib: lib.autograd.grad(leaf(lib, 1.0) * 2, [lib.ones(1)]), match="does not require grad")


@pytest.mark.parametrize("collect", [iter, list, tuple, lambda ts: dict(enumerate(ts)).values(), lambda ts: (t for t in ts)])
def test_inputs_may_be_any_iterable(collect):
    x, y = leaf(engine, 2.0), leaf(engine, 3.0)
    assert [values(g) for g in engine.autograd.grad(x * y, collect([x, y]))] == [[3.0], [2.0]]
    engine.autograd.backward(collect([x * y]), inputs=collect([x]))
    assert values(x.grad) == [3.0] and y.grad is None
    same_error(lambda lib: lib.autograd.grad(leaf(lib, 1.0) * 2, [3]), match="have to be Tensors.*but got int")


def test_gradient_nobody_asked_for_is_not_computed():
    class Loud(engine.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise AssertionError("computed")

    x, y = leaf(engine, 1.0), leaf(engine, 1.0)
    out = Loud.apply(x) + y * 3
    assert values(engine.autograd.grad(out, y)[0]) == [3.0]


def test_create_graph_gives_higher_derivatives():
    x = leaf(engine, 2.0)
    y = x**4
    expected = [32.0, 48.0, 48.0, 24.0]
    for value in expected:
        (y,) = engine.autograd.grad(y, x, create_graph=True)
        assert values(y) == [pytest.approx(value)]


def test_backward_with_create_graph_stores_differentiable_gradients():
    x = leaf(engine, 3.0)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    (g,) = engine.autograd.grad(x.grad, x)
    assert values(g) == [18.0]
    x.grad = None


def test_modes_as_contexts_decorators_and_generators():
    x = leaf(engine, 1.0)

    @engine.no_grad()
    def off():
        return x * 2

    @engine.enable_grad()
    def on():
        return x * 2

    @engine.no_grad()
    def steps():
        for _ in range(2):
            yield x * 2

    assert not off().requires_grad
    with engine.no_grad():
        assert on().requires_grad and not (x * 2).requires_grad
        with engine.enable_grad():
            assert (x * 2).requires_grad
    for y in steps():
        assert not y.requires_grad and (x * 2).requires_grad
    with engine.inference_mode():
        assert engine.is_inference_mode_enabled() and not (x * 2).requires_grad
    assert not engine.is_inference_mode_enabled()
    with engine.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    engine.set_grad_enabled(False)
    assert not engine.is_grad_enabled()
    engine.set_grad_enabled(True)


def test_mode_is_restored_after_an_exception():
    with pytest.raises(KeyError), engine.no_grad():
        raise KeyError
    assert engine.is_grad_enabled()


def test_mode_belongs_to_the_thread():
    seen = []
    with engine.no_grad():
        t = threading.Thread(target=lambda: seen.append(engine.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


def test_requires_grad_rules():
    same_error(lambda lib: lib.tensor([1]).requires_grad_(), match="floating point and complex")
    same_error(lambda lib: (leaf(lib, 1.0) * 2).requires_grad_(False), match="leaf variables")
    same_error(lambda lib: (leaf(lib, 1.0) * 2).retain_grad() or lib.ones(1).retain_grad(), match="requires_grad=False")
    x = leaf(engine, 1.0)
    assert x.is_leaf and x.grad_fn is None
    y = x * 2
    assert not y.is_leaf and y.grad_fn.name() == "MulBackward0"
    assert y.grad_fn.next_functions[0][0].variable is x
    with pytest.warns(UserWarning, match="not a leaf"):
        assert y.grad is None


def test_wrong_grad_assignments():
    same_error(lambda lib: setattr(leaf(lib, 1.0), "grad", 3), TypeError, "Tensor or None")
    same_error(lambda lib: setattr(leaf(lib, 1.0), "grad", lib.ones(2, dtype=lib.float64)), match="different size")
    same_error(lambda lib: setattr(leaf(lib, 1.0), "grad", lib.ones(1, dtype=lib.int64)), match="type")


def test_tensor_hooks_see_and_replace_the_complete_gradient():
    x = leaf(engine, 1.0)
    y = x * 2
    seen = []
    handle = y.register_hook(lambda g: seen.append(values(g)))
    doubled = y.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: seen.append(values(g)))
    (y * 3 + y * 4).backward(retain_graph=True)
    assert seen == [[7.0], [28.0]] and values(x.grad) == [28.0]
    handle.remove()
    doubled.remove()
    (y * 1).backward()
    assert seen[2:] == [[2.0]]
    same_error(lambda lib: lib.ones(1).register_hook(print), match="doesn't require gradient")


def test_retain_grad_and_post_accumulate_hooks():
    x = leaf(engine, 1.0)
    y = x * 2
    y.retain_grad()
    calls = []
    x.register_post_accumulate_grad_hook(lambda p: calls.append(values(p.grad)))
    (y * 3).backward()
    assert values(y.grad) == [3.0] and calls == [[6.0]]
    same_error(lambda lib: (leaf(lib, 1.0) * 2).register_post_accumulate_grad_hook(print), match="non-leaf")


def test_node_hooks():
    x = leaf(engine, 1.0)
    y = x * 2
    seen = []
    y.grad_fn.register_hook(lambda gi, go: seen.append((values(gi[0]), values(go[0]))))
    y.grad_fn.register_prehook(lambda go: (go[0] * 10,))
    y.backward()
    assert seen == [([20.0], [10.0])] and values(x.grad) == [20.0]


def test_anomaly_mode_names_the_forward_line():
    x = leaf(engine, 0.0)
    with engine.autograd.detect_anomaly():
        y = engine.sqrt(x) * 0  # the culprit
        with pytest.raises(RuntimeError, match=r"(?s)'SqrtBackward0' returned nan.*# the culprit"):
            y.backward()
    engine.sqrt(x * 1).backward()  # no error outside


def test_deep_graph_runs_and_goes_away():
    x = leaf(engine, 1.0)
    y = x
    for _ in range(100_000):
        y = y + 0.0
    y.backward()
    assert values(x.grad) == [1.0]
    z = x
    for _ in range(100_000):
        z = z + 0.0
    del z, y


def test_no_cycles_keep_memory():
    gc.disable()
    try:
        x = leaf(engine, 1.0, 2.0)
        y = engine.tanh(x * 2).exp()
        z = y.reshape(2, 1)[0]
        seen = [weakref.ref(t) for t in (y, z, y.grad_fn, z.grad_fn)]
        z.sum().backward()
        del y, z
        assert [r() for r in seen] == [None] * 4
    finally:
        gc.enable()


def test_backward_frees_what_it_kept():
    x = leaf(engine, 1.0)
    kept = x * 2
    out = engine.exp(kept * kept)
    seen = weakref.ref(kept)
    del kept
    assert seen() is not None
    out.backward()
    assert seen() is None


def test_threads_run_backward_on_their_own_graphs():
    shared = leaf(engine, 1.0, 2.0, 3.0)
    results = []

    def work():
        for _ in range(50):
            results.append(values(engine.autograd.grad((shared * shared).sum(), shared)[0]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 200 and all(r == [2.0, 4.0, 6.0] for r in results)


def test_mixed_dtypes_bring_gradients_in_each_inputs_dtype():
    x = engine.ones(2, dtype=engine.float32, requires_grad=True)
    y = engine.ones(2, dtype=engine.bfloat16, requires_grad=True)
    (x * y).sum().backward()
    assert x.grad.dtype == engine.float32 and y.grad.dtype == engine.bfloat16


class TestFunction:
    """autograd.Function."""

    def test_saved_output_and_double_backward(self):
        def exp(lib):
            class Exp(lib.autograd.Function):
                @staticmethod
                def forward(ctx, x):
                    y = x.exp()
                    ctx.save_for_backward(y)
                    return y

                @staticmethod
                def backward(ctx, g):
                    (y,) = ctx.saved_tensors
                    return g * y

            return Exp.apply

        x = leaf(engine, 0.5, 1.0)
        assert engine.autograd.gradcheck(exp(engine), (x,)) and engine.autograd.gradgradcheck(exp(engine), (x,))

    def test_context(self):
        class Scale(engine.autograd.Function):
            @staticmethod
            def forward(ctx, x, factor, flag=None):
                ctx.factor = factor
                assert ctx.needs_input_grad == (True, False, False)
                ctx.mark_non_differentiable(mask := x > 0)
                return x * factor, mask

            @staticmethod
            def backward(ctx, g, unused):
                return g * ctx.factor, None, None

        x = leaf(engine, 1.0, -1.0)
        y, mask = Scale.apply(x, 3.0, None)
        assert not mask.requires_grad and y.grad_fn.name() == "ScaleBackward"
        y.sum().backward()
        assert values(x.grad) == [3.0, 3.0]

    def test_setup_context_form_and_missing_gradients(self):
        class Pair(engine.autograd.Function):
            @staticmethod
            def forward(x):
                return x * 2, x * 3

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.set_materialize_grads(False)

            @staticmethod
            def backward(ctx, a, b):
                assert a is None
                return b * 3

        x = leaf(engine, 1.0)
        Pair.apply(x)[1].backward()
        assert values(x.grad) == [3.0]

    def test_wrong_number_of_gradients(self):
        def run(lib):
            class Bad(lib.autograd.Function):
                @staticmethod
                def forward(ctx, x):
                    return x * 2

                @staticmethod
                def backward(ctx, g):
                    return g, g

            Bad.apply(leaf(lib, 1.0)).backward()

        same_error(run, match="incorrect number of gradients")

    def test_dirty_input(self):
        class Add(engine.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                x.add_(1)
                ctx.mark_dirty(x)
                return x

            @staticmethod
            def backward(ctx, g):
                return g

        x = leaf(engine, 1.0)
        y = x * 2
        z = Add.apply(y)
        assert z is y
        (z * z).backward()
        assert values(x.grad) == [12.0]

    def test_once_differentiable(self):
        from engine.autograd.function import once_differentiable

        class Once(engine.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            @once_differentiable
            def backward(ctx, g):
                return g * ctx.saved_tensors[0] * 2

        x = leaf(engine, 3.0)
        seed = leaf(engine, 1.0)
        (g,) = engine.autograd.grad(Once.apply(x), x, seed, create_graph=True)
        assert values(g) == [6.0]
        with pytest.raises(RuntimeError, match="once_differentiable"):
            g.backward()

    def test_not_instantiable(self):
        with pytest.raises(RuntimeError, match="should not be instantiated"):
            engine.autograd.Function()

    def test_saved_tensor_changed(self):
        class Square(engine.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, g):
                return g * ctx.saved_tensors[0] * 2

        y = leaf(engine, 1.0) * 1
        z = Square.apply(y)
        y.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.backward()


def test_gradcheck_finds_a_wrong_gradient():
    class Wrong(engine.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(engine, 3.0)
    with pytest.raises(engine.autograd.GradcheckError, match="Jacobian mismatch"):
        engine.autograd.gradcheck(Wrong.apply, (x,))
    assert not engine.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)
    with pytest.raises(ValueError, match="at least one input"):
        engine.autograd.gradcheck(Wrong.apply, (engine.ones(1),))


def test_numpy_functions_differentiate_or_raise():
    x = leaf(engine, 1.0, 2.0)
    (np.sin(x) * np.array([1.0, 2.0])).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.cos([1.0, 2.0]) * [1, 2])
    np.testing.assert_allclose(np.sum(x, axis=0).item(), 3.0)
    with pytest.raises(TypeError, match="cannot be differentiated"):
        np.linalg.norm(x)
    with pytest.raises(TypeError, match="cannot be differentiated"):
        np.add.reduce(x)
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(x)
    plain = engine.tensor([1.0, 2.0])
    assert isinstance(np.exp(plain), engine.Tensor)
    assert isinstance(np.concatenate([plain, plain]), np.ndarray)
