"""Names that programs touch besides the everyday ones: each gives what torch gives (values, dtypes), called the same way."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import engine

# Calls with `t` the library; `x` is 3 x 4, `s` 4 x 4 symmetric, `v` a vector of 4, all float64.
CALLS = (
    "t.view_copy(x, (4, 3))", "t.t_copy(x)", "t.split_copy(x, 2)", "t.unbind_copy(x)", "t.slice_copy(x, 1, 1, 4, 2)",
    "t.select_copy(x, 0, 1)", "t.expand_copy(v, (2, 4))", "t.permute_copy(x, (1, 0))",
    "t.as_strided_copy(x, (2, 2), (1, 2))", "t.transpose_copy(x, 0, 1)", "t.squeeze_copy(x[None])",
    "t.unsqueeze_copy(x, 0)", "t.diagonal_copy(s)", "t.alias_copy(v)", "t.unfold_copy(v, 0, 2, 1)", "t.detach_copy(v)",
    "t.split_with_sizes_copy(x, [1, 3], 1)", "t.view_as_real_copy(x + 0j)", "t.constant_pad_nd(x, (1, 2), 3.0)",
    "t.convolution(x[None], s[:, :3, None], None, [1], [0], [1], False, [0], 1)",
    "t.convolution(x[None], s[:3, :, None], None, [1], [0], [1], True, [0], 1)",
    "t.conv_tbc(x[:, :, None], s[:2, :1, None].reshape(2, 1, 1), v[:1])",
    "t.affine_grid_generator(x[None, :2, :3], (1, 1, 2, 2), False)",
    "t.grid_sampler(x[None, None], x.reshape(1, 2, 3, 2), 0, 0, True)",
    "t.grid_sampler_2d(x[None, None], x.reshape(1, 2, 3, 2), 1, 1, True)", "t.native_layer_norm(x, (4,), v, v, 1e-5)",
    "t.native_group_norm(x[None, :, :], None, None, 1, 3, 4, 3, 1e-5)",
    "t.native_batch_norm(x, None, None, v * 0, v * 0 + 1, True, 0.1, 1e-5)",
    "t.native_batch_norm(x, None, None, v * 0, v * v, False, 0.1, 1e-5)[0]", "t.native_dropout(x, 0.5, True)",
    "t.native_channel_shuffle(x[None, :2, :, None], 2)", "t.frobenius_norm(x, [0, 1])", "t.nuclear_norm(x)",
    "t.embedding_renorm_(x.clone(), t.tensor([0, 2]), 1.0, 2.0)",
    "t.embedding_bag(x, t.tensor([0, 1, 2, 1]), t.tensor([0, 2]), mode=2)",
    "t.embedding_bag(x, t.tensor([0, 1, 2, 1]), t.tensor([0, 2, 4]), mode=1, include_last_offset=True)[0]",
    "t.segment_reduce(x, 'sum', lengths=t.tensor([1, 0, 2]))",
    "t.segment_reduce(x, 'mean', offsets=t.tensor([0, 1, 3]))",
    "t.segment_reduce(x, 'max', lengths=t.tensor([1, 2]), initial=0.1)",
    "t.segment_reduce(x, 'prod', lengths=t.tensor([2, 1]))",
    "t.fake_quantize_per_tensor_affine(x.float(), 0.1, 3, 0, 20)",
    "t.fake_quantize_per_channel_affine(x.float(), v.float().abs(), t.zeros(4), 1, -5, 5)", "t.geqrf(x)",
    "t.ormqr(*t.geqrf(x.T), s)", "t.ormqr(*t.geqrf(x.T), s, left=False, transpose=True)", "t.linalg.ldl_factor(s)",
    "t.linalg.ldl_factor_ex(s.expand(2, 4, 4))", "t.linalg.ldl_solve(*t.linalg.ldl_factor(s), x.T)",
    "t.linalg.ldl_factor(s + 1j * (s.tril(-1) - s.triu(1)), hermitian=True)", "t.svd_lowrank(x, 2)[1]",
    "t.pca_lowrank(x, 2)[1]", "t.lobpcg(s @ s, 1)[0]", "t.histogramdd(x[:, :2], [2, 3])",
    "t.histogramdd(x[:, :2], 2, range=[-1., 1., 0., 1.], density=True)", "t.igamma(x.abs(), x.abs() + 1)",
    "t.igammac(x.abs(), x.abs() + 1)", "x.abs().igamma_(x.abs() + 1)",
    "t.sym_max(1, 2.5), t.sym_int(2.7), t.sym_not(False), t.sym_sum([1, 2]), t.sym_min(3, 2)",
    "t.sym_ite(True, 1, 2), t.sym_sqrt(4)", "t.cond(x.sum() > 0, lambda a: a + 1, lambda a: a - 1, (x,))",
    "t.FloatStorage([1, 2]).tolist()", "x.untyped_storage().nbytes()",
    "x[1:].untyped_storage().data_ptr() == x.data_ptr()",
    "t.zeros(0, dtype=t.float64).set_(x.untyped_storage(), 1, (2, 2), (3, 1))",
    "t.is_storage(t.UntypedStorage(3)), t.is_storage(x)", "x.is_xla, x.is_mps, x.is_nested, x.is_sparse_csr, x.is_xpu",
    "t.cpu.device_count(), t.cpu.is_available()", "t.jit.wait(t.jit.fork(lambda a: a + 1, 1))",
    "t.futures.Future().done()", "t.log10(t.tensor([1e-3, 1., 10., 1e3, 1e5]))",
)  # fmt: skip


def outcome(lib, call):
    numbers = np.random.default_rng(1)
    x, s, v = numbers.normal(size=(3, 4)), numbers.normal(size=(4, 4)), numbers.normal(size=4)
    tensors = {"x": lib.tensor(x), "s": lib.tensor(s + s.T), "v": lib.tensor(v)}
    lib.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(call, {"t": lib, **tensors})


def parts(value):
    return [p for v in value for p in parts(v)] if isinstance(value, (tuple, list)) else [value]


@pytest.mark.parametrize("call", CALLS)
def test_it_gives_what_torch_gives(call):
    torch = pytest.importorskip("torch")
    got, expected = parts(outcome(engine, call)), parts(outcome(torch, call))
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        if isinstance(b, torch.Tensor):
            assert str(a.dtype) == str(b.dtype) and tuple(a.shape) == tuple(b.shape)
            np.testing.assert_allclose(a.numpy(force=True), b.resolve_conj().numpy(force=True), rtol=1e-6, atol=1e-9)
        else:
            assert a == b and type(a) is type(b)


def test_copies_share_no_memory():
    x = engine.zeros(2, 2)
    engine.view_copy(x, (4,))[0] = 1
    engine.t_copy(x)[0, 0] = 1
    assert not x.any()


def test_a_storage_is_the_memory_of_its_tensors():
    x = engine.zeros(2, 3)
    x.untyped_storage().fill_(0)
    x[1].storage()[4] = 7
    assert x[1, 1] == 7 and x.t().storage().size() == 6 and x.storage_type() is engine.FloatStorage
    assert engine.FloatStorage([1.0]).untyped().nbytes() == 4


def test_futures_pass_results_and_exceptions_on():
    future = engine.futures.Future()
    following = future.then(lambda f: f.value() * 2)
    with pytest.raises(RuntimeError, match="nothing was set"):
        future.wait()
    future.set_result(3)
    assert following.wait() == 6 and engine.futures.wait_all([future, following]) == [3, 6]
    with pytest.raises(RuntimeError, match="only be marked completed once"):
        future.set_result(4)
    failing = following.then(lambda f: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing.wait()
    later = engine.futures.Future()
    together = engine.futures.collect_all([future, later])
    assert not together.done()
    later.set_result(1)
    assert [f.wait() for f in together.wait()] == [3, 1]


def test_hub_reads_a_local_folder(tmp_path):
    (tmp_path / "hubconf.py").write_text(
        "import engine\ndependencies = ['numpy']\ndef small(width=2):\n    'A layer.'\n    return engine.nn.Linear(1, width)\n")
    assert engine.hub.load(tmp_path, "small", width=3, source="local").out_features == 3
    assert engine.hub.list(tmp_path) == ["small"] and engine.hub.help(tmp_path, "small") == "A layer."
    with pytest.raises(RuntimeError, match="Cannot find callable smal in hubconf. Did you mean 'small'"):
        engine.hub.load(tmp_path, "smal", source="local")
    with pytest.raises(NotImplementedError, match="not downloaded"):
        engine.hub.load("pytorch/vision", "resnet18")
    with pytest.raises(FileNotFoundError, match="hubconf"):
        engine.hub.load(tmp_path / "empty", "small", source="local")


def test_what_torch_removed_is_removed_here():
    for name in ("eig", "lstsq", "solve", "symeig", "matrix_rank"):
        with pytest.raises(RuntimeError, match="torch.linalg"):
            getattr(engine, name)(engine.eye(2))


BY_AXIS = dict.fromkeys(("sum", "mean", "max", "min", "argmax", "argmin", "std", "var", "prod", "cumsum", "sort", "median",
                         "all", "any", "amax", "softmax", "squeeze", "unsqueeze", "logsumexp", "count_nonzero", "unbind",
                         "diff", "nansum", "cummax"), ())
BY_AXIS.update(topk=(1,), chunk=(2,), roll=(1,), quantile=(0.5,), kthvalue=(1,))


@pytest.mark.parametrize("name", BY_AXIS)
def test_numpy_names_of_arguments(name):
    torch = pytest.importorskip("torch")
    for options in ({"axis": 1}, {"axis": -1, "keepdims": True}):
        outcomes = []
        for library in (torch, engine):
            x = library.arange(6.0).reshape(2, 3)
            try:
                outcomes.append(repr(getattr(x, name)(*BY_AXIS[name], **options)))
            except TypeError as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]
