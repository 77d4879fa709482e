"""The same seed gives torch's numbers: every random function, every initialisation, dropout, samplers and loaders."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import engine

# Calls with `t` the library; `z(n)` is a tensor of n zeros (float32).
CALLS = (
    "t.rand(3)", "t.rand(40)", "t.rand(5, dtype=t.float64)", "t.rand(5, dtype=t.float16)",
    "t.rand(5, dtype=t.bfloat16)", "t.randn(3)", "t.randn(16)", "t.randn(37)", "t.randn(5, dtype=t.float64)",
    "t.randn(20, dtype=t.float64)", "t.randn(20, dtype=t.bfloat16)", "t.randn(4, dtype=t.complex64)",
    "t.randint(10, (7,))", "t.randint(-5, 2**20, (7,))", "t.randint(0, 2**28, (7,))", "t.randint(0, 2**40, (7,))",
    "t.randint(0, 2**63 - 1, (7,))", "t.randint(0, 200, (9,), dtype=t.uint8)", "t.randint(3, (5,), dtype=t.float32)",
    "t.randperm(20)", "t.randperm(1)", "t.rand_like(z(5))", "t.randn_like(z(20))", "t.randint_like(z(5), 9)",
    "t.normal(2.0, 3.0, (20,))", "t.normal(z(20), 2.0)", "t.normal(1.0, t.ones(20))",
    "t.normal(t.arange(20.), t.arange(20.))", "t.normal(z(3), 1.0)", "t.bernoulli(t.full((9,), 0.3))",
    "t.full((9,), 0.3).bernoulli()", "z(9).bernoulli_(0.3)", "z(9).bernoulli_(t.full((9,), 0.7))",
    "t.multinomial(t.tensor([1., 2., 3., 4.]), 3)", "t.multinomial(t.tensor([1., 2., 3., 4.]), 9, replacement=True)",
    "t.multinomial(t.ones(2, 5), 2)", "t.multinomial(t.ones(5, dtype=t.float64), 1)", "t.poisson(t.full((9,), 3.0))",
    "t.poisson(t.full((9,), 30.0))", "t.binomial(t.full((9,), 8.0), t.full((9,), 0.3))",
    "t.binomial(t.full((9,), 80.0), t.full((9,), 0.3))", "z(20).uniform_(-1, 3)", "z(20).normal_(1, 2)",
    "z(3).normal_(1, 2)", "z(9).exponential_(2.0)", "z(9).log_normal_(0.5, 0.3)", "z(9).cauchy_(1.0, 2.0)",
    "z(9).geometric_(0.3)", "z(9).random_()", "z(9).random_(5)", "z(9).random_(-3, 9)", "z(9).long().random_()",
    "z(9).int().random_()", "z(9).to(t.uint8).random_()", "z(9).to(t.int8).random_()", "z(9).bool().random_()",
    "z(9).double().random_()", "z(9).to(t.bfloat16).random_()", "z(9).long().random_(0, None)",
    "z(9).long().random_(7, None)", "z(9).random_(2, None)", "z(9).int().random_(-4, None)", "z(9).half().uniform_()",
    "z(20).half().normal_()", "F.dropout(t.ones(20), 0.4)", "F.dropout(t.ones(4, 5).t(), 0.4)",
    "F.alpha_dropout(t.ones(20), 0.4, True)", "F.dropout1d(t.ones(3, 4, 2), 0.5)",
    "F.dropout2d(t.ones(2, 4, 2, 2), 0.5)", "F.dropout3d(t.ones(1, 4, 2, 2, 2), 0.5)",
    "F.feature_alpha_dropout(t.ones(2, 4, 3), 0.5, True)", "F.rrelu(-t.ones(9), training=True)",
    "F.gumbel_softmax(z(6).reshape(2, 3))", "F.gumbel_softmax(z(6).reshape(2, 3), hard=True)",
    "F.scaled_dot_product_attention(t.ones(1, 3, 4), t.ones(1, 3, 4), t.ones(1, 3, 4), dropout_p=0.5)",
    "t.pca_lowrank(t.randn(5, 3, dtype=t.float64))[1]", "t.seed() > 0", "t.Generator().manual_seed(3).initial_seed()",
    "t.rand(3, generator=t.Generator().manual_seed(3))", "t.randn(20, generator=t.Generator().manual_seed(3))",
    "init.uniform_(z(12).reshape(3, 4), -1, 2)", "init.normal_(z(12).reshape(3, 4))",
    "init.trunc_normal_(z(20).reshape(4, 5))", "init.xavier_uniform_(z(12).reshape(3, 4), 2.0)",
    "init.xavier_normal_(z(20).reshape(4, 5))", "init.kaiming_uniform_(z(12).reshape(3, 4), 0.3)",
    "init.kaiming_normal_(z(20).reshape(4, 5), mode='fan_out')", "init.orthogonal_(z(12).reshape(3, 4)).abs()",
    "init.sparse_(z(20).reshape(4, 5), 0.4)", "init.dirac_(z(18).reshape(2, 3, 3))", "init.eye_(z(12).reshape(3, 4))",
    "list(D.RandomSampler(range(9)))", "list(D.RandomSampler(range(9), replacement=True, num_samples=40))",
    "list(D.RandomSampler(range(5), num_samples=12))", "list(D.WeightedRandomSampler([1., 2., 3.], 6))",
    "list(D.WeightedRandomSampler([1., 2., 3.], 2, replacement=False))", "list(D.SubsetRandomSampler([3, 5, 7, 9]))",
    "list(D.BatchSampler(D.RandomSampler(range(7)), 3, False))", "[list(s) for s in D.random_split(range(9), [4, 5])]",
    "[list(s) for s in D.random_split(range(9), [0.5, 0.3, 0.2])]",
    "[b.tolist() for b in D.DataLoader(t.arange(9), 2, shuffle=True)]",
    "[b.tolist() for b in D.DataLoader(t.arange(9), 2, shuffle=True, drop_last=True)], t.rand(1)",
    "[b.tolist() for b in D.DataLoader(t.arange(6), 4, shuffle=True, generator=t.Generator().manual_seed(1))]",
)  # fmt: skip


FLOATS = ("float16", "bfloat16", "float32", "float64")
FILLS = ("uniform_(-2, 3)", "normal_(1, 2)", "exponential_(2)", "log_normal_(.5, .3)", "cauchy_(1, 2)", "geometric_(.3)",
         "bernoulli_(.4)", "random_()", "random_(100)", "random_(5, 50)")
ENDS = (2, 10, 2**16, 2**28 - 1, 2**28, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**62, 2**63 - 1)
DISTRIBUTIONS = (
    "Normal(v, v + 1)", "Bernoulli(v / 9)", "Categorical(v)", "OneHotCategorical(v)", "Multinomial(7, v)", "Exponential(v)",
    "Gamma(v / 3, v)", "Beta(v / 3, v)", "Dirichlet(v)", "StudentT(v)", "Chi2(v)", "Laplace(v, v)", "Cauchy(v, v)",
    "HalfCauchy(v)", "HalfNormal(v)", "Gumbel(v, v)", "Geometric(v / 9)", "Poisson(v * 5)", "Binomial(10, v / 9)",
    "NegativeBinomial(5., v / 9)", "Uniform(v, v + 2)", "LogNormal(v, v)", "Pareto(v, v)", "Weibull(v, v)", "VonMises(v, v)",
    "MultivariateNormal(v, t.eye(3) * 2)", "LowRankMultivariateNormal(v, t.ones(3, 1), v)", "FisherSnedecor(v, v)",
    "Kumaraswamy(v, v)", "LKJCholesky(3, 1.)", "ContinuousBernoulli(v / 9)", "RelaxedBernoulli(v, v / 9)",
    "RelaxedOneHotCategorical(v, v)", "LogisticNormal(v, v)", "InverseGamma(v, v)",
    "MixtureSameFamily(P.Categorical(v), P.Normal(v, v))", "Independent(P.Normal(v, v), 1)",
)
GRID = (
    *[f"t.{name}({n}, dtype=t.{d})" for name in ("rand", "randn") for n in (1, 5, 15, 16, 17, 33, 100) for d in FLOATS],
    *[f"z({n}).to(t.{d}).{fill}" for fill in FILLS for n in (7, 40) for d in FLOATS],
    *[f"t.zeros(40, 2, dtype=t.{d}).t()[1].{fill}" for fill in FILLS for d in FLOATS],
    *[f"z(20).to(t.{d}).{fill}" for fill in ("random_()", "random_(2)", "geometric_(.3)", "bernoulli_(.4)")
      for d in ("int8", "uint8", "int16", "int32", "int64")],
    *[f"t.randint({low}, {end}, (9,))" for end in ENDS for low in (0, -5, -(2**40))],
    *[f"z(9).long().random_({low}, {end})" for end in ENDS for low in (0, -(2**62))],
    *[f"t.randint(0, 100, (9,), dtype=t.{d})" for d in (*FLOATS, "int8", "int16", "int32")],
    *[f"t.poisson(t.full((20,), {rate}, dtype=t.{d}))" for rate in (0.5, 9.0, 10.0, 1000.0) for d in ("float32", "float64")],
    *[f"t.binomial(t.full((20,), {n}.), t.full((20,), {p}))" for n, p in ((5, 0.3), (100, 0.9), (3, 0.0), (1000, 0.01))],
    *[f"t.multinomial(t.arange(1., 13.).reshape(3, 4).to(t.{d}), {n}, {again})" for d in FLOATS for n in (1, 3)
      for again in (False, True)],
    *[f"P.{d}.{how}({size})" for d in DISTRIBUTIONS for how, size in (("sample", ()), ("sample", (20,)))],
    *[f"P.{d}.rsample((4,))" for d in DISTRIBUTIONS if d[:3] not in ("Ber", "Cat", "One", "Mul", "Geo", "Poi", "Bin", "Neg",
                                                                       "Von", "LKJ", "Mix")],
    *[f"F.{name}(t.ones({shape}), {p}, True)" for name, shape in (("dropout", "4, 6"), ("alpha_dropout", "4, 6"), (
        "feature_alpha_dropout", "4, 6, 3"), ("dropout1d", "3, 4, 5"), ("dropout2d", "3, 4, 5, 2")) for p in (0.0, 0.3, 1.0)],
    *[f"t.{call}" for call in ("randperm(6, generator=g)", "multinomial(t.ones(4), 2, generator=g)",
                              "normal(z(3), 1., generator=g)",
                              "bernoulli(t.full((5,), .5), generator=g)", "poisson(t.full((3,), 3.), generator=g)",
                              "randint(0, 9, (3,), generator=g)", "binomial(t.full((3,), 5.), t.full((3,), .5), generator=g)")],
    *[f"z(9).{fill[:-1]}{'' if fill[-2] == '(' else ', '}generator=g), t.rand(1)" for fill in FILLS],
    "z(20).to(t.complex64).normal_(1, 2)", "[t.randn(5), t.rand(3), t.randn(4), t.randn(20), t.randn(3)]",
    "[t.randn(3, dtype=t.float64), t.randn(1), t.manual_seed(3).initial_seed(), t.randn(1)]", "t.randn(70003)[-5:]",
    "[t.rand(2), t.get_rng_state(), t.rand(2), t.set_rng_state(t.Generator().manual_seed(4).get_state()), t.rand(2)]",
    "list(D.DistributedSampler(range(13), 2, 1))",
)  # fmt: skip


def outcome(lib, call):
    lib.manual_seed(17)
    names = {"t": lib, "F": lib.nn.functional, "init": lib.nn.init, "D": lib.utils.data, "z": lib.zeros,
             "P": lib.distributions, "v": lib.tensor([1.0, 2.0, 3.0]), "g": lib.Generator().manual_seed(3)}
    return eval(call, names)


def same(got, expected):
    if isinstance(expected, (list, tuple)):
        assert len(got) == len(expected)
        for a, b in zip(got, expected):
            same(a, b)
    elif hasattr(expected, "detach"):
        assert str(got.dtype) == str(expected.dtype) and tuple(got.shape) == tuple(expected.shape)
        if expected.dtype.is_floating_point or expected.dtype.is_complex:
            wide = "complex128" if expected.dtype.is_complex else "float64"
            a, b = (np.array(x.detach().to(getattr(lib, wide)).tolist()) for lib, x in ((engine, got), (oracle(), expected)))
            np.testing.assert_allclose(a, b, rtol=2e-6 if expected.dtype.itemsize >= 4 else 1e-2, atol=1e-7)
        else:
            assert got.tolist() == expected.tolist()
    else:
        assert got == expected


def oracle():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("call", CALLS + GRID)
def test_random_functions_draw_torchs_numbers(call):
    expected = outcome(oracle(), call)
    same(outcome(engine, call), expected)


# Arguments for layers that need some; every other layer with parameters is made from numbers that fit most.
LAYERS = {
    "Linear": (5, 4), "Bilinear": (3, 4, 2), "Conv1d": (4, 6, 3), "Conv2d": (4, 6, 3), "Conv3d": (2, 3, 2),
    "ConvTranspose1d": (4, 6, 3), "ConvTranspose2d": (4, 6, 3), "ConvTranspose3d": (2, 3, 2), "Embedding": (7, 3),
    "EmbeddingBag": (7, 3), "RNN": (3, 4), "LSTM": (3, 4, 2), "GRU": (3, 4), "RNNCell": (3, 4), "LSTMCell": (3, 4),
    "GRUCell": (3, 4), "MultiheadAttention": (8, 2), "TransformerEncoderLayer": (8, 2, 16),
    "TransformerDecoderLayer": (8, 2, 16), "Transformer": (8, 2, 1, 1, 16), "BatchNorm1d": (3,), "BatchNorm2d": (3,),
    "BatchNorm3d": (3,), "GroupNorm": (2, 4), "LayerNorm": (4,), "RMSNorm": (4,), "PReLU": (3,),
    "AdaptiveLogSoftmaxWithLoss": (8, 20, [5, 10]), "LinearCrossEntropyLoss": (3, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers_start_from_torchs_weights(name):
    states = []
    for lib in (oracle(), engine):
        lib.manual_seed(5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = getattr(lib.nn, name)(*LAYERS[name])
        states.append({k: np.array(v.tolist()) for k, v in layer.state_dict().items()})
    assert list(states[0]) == list(states[1])
    for key, value in states[0].items():
        np.testing.assert_allclose(states[1][key], value, rtol=1e-6, atol=1e-8, err_msg=key)


def test_every_layer_with_weights_is_in_the_table():
    others = ("Lazy", "Instance", "RNNBase", "RNNCellBase", "SyncBatchNorm", "Transformer")  # made of those, or without weights
    layers = [c for c in vars(engine.nn).values() if inspect.isclass(c) and issubclass(c, engine.nn.Module)]
    with_weights = [c.__name__ for c in layers if {"device", "dtype"} <= set(inspect.signature(c.__init__).parameters)]
    assert not [name for name in with_weights if name not in LAYERS and not name.startswith(others)]


def test_workers_change_no_order():
    torch = oracle()
    orders = []
    for lib in (torch, engine):
        lib.manual_seed(3)
        loader = lib.utils.data.DataLoader(lib.arange(9), 2, shuffle=True, num_workers=2)
        orders.append([b.tolist() for b in loader])
    assert orders[0] == orders[1]


def transformer(t, kind, batch_first):
    """The output of a transformer in training, whose dropouts draw in the order in which their inputs lie in memory."""
    t.manual_seed(0)
    x, memory = t.randn(3, 5, 8), t.randn(3, 6, 8)
    if not batch_first:
        x, memory = x.transpose(0, 1).contiguous(), memory.transpose(0, 1).contiguous()
    options = {"batch_first": batch_first, "dropout": 0.3}
    if kind == "attention":
        attend = t.nn.MultiheadAttention(8, 2, **options)
        return t.nn.functional.dropout(attend(x, memory, memory)[0], 0.3)
    if kind == "encoder":
        return t.nn.TransformerEncoder(t.nn.TransformerEncoderLayer(8, 2, 16, **options), 2)(x)
    if kind == "decoder":
        return t.nn.TransformerDecoderLayer(8, 2, 16, **options)(x, memory)
    return t.nn.Transformer(8, 2, 1, 1, 16, **options)(memory, x)


@pytest.mark.filterwarnings("ignore:.*enable_nested_tensor")
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", ["attention", "encoder", "decoder", "whole"])
def test_transformers_drop_what_torch_drops(kind, batch_first):
    torch = pytest.importorskip("torch")
    ours, theirs = (transformer(lib, kind, batch_first).detach().numpy() for lib in (engine, torch))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
