"""Bad settings and inputs of layers: the class of error, and the facts in it, are torch's."""

from __future__ import annotations

from typing import Any

import pytest

import engine
from engine import nn

BAD = [
    ("nn.Conv2d(3, 4, 2, groups=2)", None, ValueError, "in_channels must be divisible by groups"),
    ("nn.Conv2d(4, 3, 2, groups=2)", None, ValueError, "out_channels must be divisible by groups"),
    ("nn.Conv2d(4, 3, 2, groups=0)", None, ValueError, "groups must be a positive integer"),
    ("nn.Conv1d(1, 1, 2, padding='some')", None, ValueError, "Invalid padding string 'some'"),
    ("nn.Conv1d(1, 1, 2, stride=2, padding='same')", None, ValueError, "not supported for strided convolutions"),
    ("nn.Conv1d(1, 1, 2, padding_mode='odd')", None, ValueError, "padding_mode='odd'"),
    ("nn.ConvTranspose1d(1, 1, 2, padding_mode='reflect')", None, ValueError, 'Only "zeros" padding mode'),
    ("nn.ConvTranspose1d(1, 1, 2, 2)", "x(1, 1, 3), [20]", ValueError, "requested an output size"),
    ("nn.ConvTranspose1d(1, 1, 2, 2)", "x(1, 1, 3), [2, 3]", ValueError, "output_size"),
    ("nn.BatchNorm1d(3)", "x(2, 3, 4, 5)", ValueError, "expected 2D or 3D input (got 4D input)"),
    ("nn.BatchNorm2d(3)", "x(2, 3)", ValueError, "expected 4D input (got 2D input)"),
    ("nn.BatchNorm3d(3)", "x(2, 3)", ValueError, "expected 5D input (got 2D input)"),
    ("nn.InstanceNorm1d(3)", "x(2)", ValueError, "input (got 1D input)"),
    ("nn.InstanceNorm1d(3, affine=True)", "x(2, 4, 5)", ValueError, "to match num_features (3), but got: 4."),
    ("nn.GroupNorm(2, 3)", None, ValueError, "must be divisible by num_groups"),
    ("nn.Dropout(1.5)", None, ValueError, "dropout probability has to be between 0 and 1, but got 1.5"),
    ("nn.Hardtanh(1.0, 1.0)", None, (ValueError, AssertionError), ""),
    ("nn.Softmax2d()", "x(2, 3)", ValueError, "expected input to be 3D or 4D, got 2D instead"),
    ("nn.Embedding(3, 2, padding_idx=3)", None, AssertionError, "Padding_idx must be within num_embeddings"),
    ("nn.Bilinear(0, 2, 3)", None, ValueError, "in1_features must be > 0, but got 0"),
    ("nn.MultiMarginLoss(p=3)", None, ValueError, "only p == 1 and p == 2 supported"),
    ("nn.TripletMarginLoss(margin=0)", None, ValueError, "expected margin to be greater than 0, got 0 instead"),
    ("nn.RNN(2, 3, nonlinearity='gelu')", None, ValueError, "Unknown nonlinearity 'gelu'"),
    ("nn.GRU(2, 3, proj_size=1)", None, ValueError, "proj_size argument is only supported for LSTM"),
    ("nn.LSTM(2, 3, proj_size=3)", None, ValueError, "proj_size has to be smaller than hidden_size"),
    ("nn.LSTM(2, 0)", None, ValueError, "hidden_size must be greater than zero"),
    ("nn.LSTM(2, 3, 0)", None, ValueError, "num_layers must be greater than zero"),
    ("nn.LSTM(2, 3, dropout=2)", None, ValueError, "dropout should be a number in range [0, 1]"),
    ("nn.GRU(2, 3)", "x(5, 1, 4)", RuntimeError, "Expected 2, got 4"),
    ("nn.GRU(2, 3)", "x(5)", ValueError, "Expected input to be 2D or 3D, got 1D instead"),
    ("nn.GRU(2, 3)", "x(5, 1, 2), x(1, 2, 3)", RuntimeError, "Expected hidden size (1, 1, 3), got [1, 2, 3]"),
    ("nn.LSTM(2, 3)", "x(5, 1, 2), (x(1, 1, 3), x(1, 1, 2))", RuntimeError, "Expected hidden[1] size (1, 1, 3)"),
    ("nn.GRU(2, 3)", "x(5, 2), x(1, 1, 3)", RuntimeError, "For unbatched 2-D input, hx should also be 2-D"),
    ("nn.RNNCell(2, 3)", "x(5, 1, 2)", ValueError, "Expected input to be 1D or 2D, got 3D instead"),
    ("nn.RNNCell(2, 3, nonlinearity='gelu')", "x(5, 2)", RuntimeError, "Unknown nonlinearity: gelu"),
    ("nn.MultiheadAttention(5, 2)", None, AssertionError, "embed_dim must be divisible by num_heads"),
    ("nn.MultiheadAttention(0, 2)", None, ValueError, "must be greater than 0"),
    ("nn.MultiheadAttention(4, 2)", "*[x(3, 2, 4)] * 3, None, True, x(3, 5)", RuntimeError, "but should be (3, 3)"),
    ("nn.MultiheadAttention(4, 2)", "x(3, 2, 4), x(3, 4), x(3, 4)", AssertionError, "to be 3-D"),
    ("nn.MultiheadAttention(4, 2)", "*[x(3, 2, 4)] * 3, None, True, None, True, True", RuntimeError, "Need attn_mask"),
    ("nn.TransformerEncoderLayer(4, 2, activation='tanh')", None, RuntimeError, "should be relu/gelu, not tanh"),
    ("nn.Transformer(4, 2, 1, 1, 8)", "x(5, 2, 4), x(5, 3, 4)", RuntimeError, "batch number of src and tgt"),
    ("nn.Transformer(4, 2, 1, 1, 8)", "x(5, 2, 3), x(5, 2, 3)", RuntimeError, "equal to d_model"),
    ("nn.AdaptiveLogSoftmaxWithLoss(4, 6, [3, 2])", None, ValueError, "unique, positive integers sorted"),
    ("nn.AdaptiveLogSoftmaxWithLoss(4, 6, [])", None, ValueError, "length larger than 0"),
    ("nn.Unflatten(1, 3.5)", None, TypeError, "unflattened_size must be"),
    ("nn.Unflatten(1, (2, 'a'))", None, TypeError, "found element of type str"),
]


def provoke(library: Any, neural: Any, source: str, inputs: str | None) -> None:
    module = eval(source, {"nn": neural})  # noqa: S307
    if inputs is not None:
        module(*eval(f"({inputs},)", {"x": lambda *shape: library.ones(*shape)}))  # noqa: S307


@pytest.mark.parametrize(("source", "inputs", "error", "text"), BAD, ids=[f"{bad[0]} {bad[1]}" for bad in BAD])
def test_errors_and_their_facts(source: str, inputs: str | None, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        provoke(engine, nn, source, inputs)
    assert text in str(caught.value)


@pytest.mark.parametrize(("source", "inputs", "error", "text"), BAD, ids=[f"{bad[0]} {bad[1]}" for bad in BAD])
def test_torch_raises_the_same_class(source: str, inputs: str | None, error: Any, text: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(error):
        provoke(torch, torch.nn, source, inputs)


def test_unsupported_things_name_the_alternative() -> None:
    with pytest.raises(NotImplementedError, match="give the dimension's number"):
        nn.Unflatten("features", (2, 3))
    with pytest.raises(NotImplementedError, match="give one device"):
        nn.DataParallel(nn.ReLU(), device_ids=[0, 1])


def test_adaptive_softmax_agrees_with_itself() -> None:
    engine.manual_seed(0)
    model = nn.AdaptiveLogSoftmaxWithLoss(16, 12, [3, 6])
    x, target = engine.randn(5, 16), engine.tensor([0, 3, 6, 11, 5])
    everything = model.log_prob(x)
    assert engine.allclose(everything.exp().sum(dim=1), engine.ones(5), atol=1e-5)
    assert engine.allclose(everything[engine.arange(5), target], model(x, target).output, atol=1e-5)
    assert model.predict(x).tolist() == everything.argmax(dim=1).tolist()
    with pytest.raises(RuntimeError, match=r"in \[0, 11\], but values in range \[1, 12\]"):
        model(x[:2], engine.tensor([1, 12]))
    with pytest.raises(RuntimeError, match="same size in the batch dimension"):
        model(x, target[:2])



def test_deprecated_reductions_still_work() -> None:
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert nn.MSELoss(size_average=False).reduction == "sum"
    with pytest.warns(UserWarning, match="please use reduction='none' instead"):
        assert nn.NLLLoss(reduce=False).reduction == "none"


def test_dropout_between_layers_needs_layers() -> None:
    with pytest.warns(UserWarning, match="num_layers=1"):
        nn.LSTM(2, 3, dropout=0.5)


def test_instance_norm_warns_of_other_channels_without_affine() -> None:
    with pytest.warns(UserWarning, match="does not match num_features"):
        nn.InstanceNorm1d(3)(engine.ones(2, 4, 5))


def test_inplace_layers_overwrite_their_input() -> None:
    x = engine.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x).tolist() == [0, 2] and x.tolist() == [0, 2]


def test_pretrained_tables() -> None:
    rows = engine.tensor([[1.0, 2.0], [3.0, 4.0]])
    table = nn.Embedding.from_pretrained(rows)
    assert not table.weight.requires_grad and table(engine.tensor([1])).tolist() == [[3, 4]]
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad
    assert not nn.EmbeddingBag.from_pretrained(rows).weight.requires_grad
    with pytest.raises(AssertionError, match="2-dimensional"):
        nn.Embedding.from_pretrained(engine.ones(2))


def test_recurrent_weights_are_named_and_grouped_as_in_torch() -> None:
    layer = nn.LSTM(2, 3, num_layers=2, bidirectional=True)
    assert [len(group) for group in layer.all_weights] == [4, 4, 4, 4]
    assert layer.all_weights[1][0] is layer.weight_ih_l0_reverse
    assert layer.weight_ih_l1.shape == (12, 6)
    layer.flatten_parameters()


def test_unknown_layers_get_a_suggestion() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Liner'.*'Linear'"):
        _ = nn.Liner
