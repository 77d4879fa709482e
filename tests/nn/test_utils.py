"""nn.utils: clipping, vectors of parameters, packed sequences, weight normalisation."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import engine
from engine import nn
from engine.nn.utils import rnn


def with_grads(*values: list[float]) -> list[Any]:
    parameters = [nn.Parameter(engine.zeros(len(value))) for value in values]
    for parameter, value in zip(parameters, values):
        parameter.grad = engine.tensor(value)
    return parameters


class TestClipping:
    def test_norm_is_scaled_down_and_returned(self) -> None:
        parameters = with_grads([3.0], [0.0, 4.0])
        grad = parameters[0].grad
        assert nn.utils.clip_grad_norm_(parameters, 1.0).item() == pytest.approx(5.0)
        assert parameters[0].grad is grad  # in place
        assert parameters[0].grad.item() == pytest.approx(0.6, rel=1e-5)
        assert parameters[1].grad.tolist() == pytest.approx([0.0, 0.8], rel=1e-5)

    def test_small_gradients_stay_as_they_are(self) -> None:
        parameters = with_grads([0.3], [0.4])
        nn.utils.clip_grad_norm_(parameters, 1.0)
        assert [p.grad.item() for p in parameters] == pytest.approx([0.3, 0.4])

    def test_other_norms_generators_and_missing_gradients(self) -> None:
        parameters = with_grads([3.0], [-4.0])
        parameters.append(nn.Parameter(engine.zeros(2)))
        assert nn.utils.clip_grad_norm_((p for p in parameters), 1e3, norm_type=math.inf).item() == 4.0
        assert nn.utils.clip_grad_norm_(parameters[0], 1e3, norm_type=1).item() == 3.0
        assert nn.utils.clip_grad_norm_([parameters[2]], 1.0).item() == 0.0

    def test_not_finite(self) -> None:
        parameters = with_grads([math.nan])
        assert math.isnan(nn.utils.clip_grad_norm_(parameters, 1.0).item())
        with pytest.raises(RuntimeError, match="non-finite"):
            nn.utils.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)

    def test_value(self) -> None:
        parameters = with_grads([3.0, -0.5, -7.0])
        nn.utils.clip_grad_value_(parameters, 1.0)
        assert parameters[0].grad.tolist() == [1.0, -0.5, -1.0]

    def test_torchs_numbers(self) -> None:
        torch = pytest.importorskip("torch")
        values = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
        ours, theirs = with_grads(*values.tolist()), [torch.nn.Parameter(torch.zeros(7)) for _ in range(3)]
        for parameter, value in zip(theirs, values):
            parameter.grad = torch.from_numpy(value.copy())
        mine = nn.utils.clip_grad_norm_(ours, 0.5)
        expected = torch.nn.utils.clip_grad_norm_(theirs, 0.5)
        assert mine.item() == pytest.approx(expected.item(), rel=1e-6)
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-6)

    @pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf, 0.0])
    def test_large_gradients_are_clipped_in_pieces_with_the_same_result(self, norm_type: float) -> None:
        torch = pytest.importorskip("torch")
        values = [np.random.default_rng(i).standard_normal(n).astype(np.float32) for i, n in enumerate((200_000, 5, 1, 70_000))]
        values[1][:] = 0
        before = engine.get_num_threads()
        found = []
        try:
            for threads in (1, 3):
                engine.set_num_threads(threads)
                ours = [nn.Parameter(engine.zeros(v.size)) for v in values]
                for parameter, value in zip(ours, values):
                    parameter.grad = engine.from_numpy(value.copy())
                norm = nn.utils.clip_grad_norm_(ours, 0.5, norm_type)
                found.append([norm.numpy(), *[p.grad.numpy() for p in ours]])
        finally:
            engine.set_num_threads(before)
        assert all((a == b).all() for a, b in zip(*found))
        theirs = [torch.nn.Parameter(torch.zeros(v.size)) for v in values]
        for parameter, value in zip(theirs, values):
            parameter.grad = torch.from_numpy(value.copy())
        norm = torch.nn.utils.clip_grad_norm_(theirs, 0.5, norm_type)
        for a, b in zip(found[0], [norm.numpy(), *[p.grad.numpy() for p in theirs]]):
            np.testing.assert_allclose(a, b, rtol=2e-5)


def test_parameters_as_a_vector_and_back() -> None:
    layer = nn.Linear(2, 2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (6,) and vector[4].item() == layer.bias[0].item()
    nn.utils.vector_to_parameters(engine.arange(6.0), layer.parameters())
    assert layer.weight.tolist() == [[0, 1], [2, 3]] and layer.bias.tolist() == [4, 5]
    assert isinstance(layer.weight, nn.Parameter)
    with pytest.raises(TypeError, match="expected torch.Tensor, but got"):
        nn.utils.vector_to_parameters([1.0], layer.parameters())


class TestPacking:
    sequences = ([1.0, 2.0], [3.0], [4.0, 5.0, 6.0])

    def tensors(self, library: Any = engine) -> list[Any]:
        return [library.tensor(values) for values in self.sequences]

    def test_pad_and_unpad(self) -> None:
        padded = rnn.pad_sequence(self.tensors(), batch_first=True, padding_value=-1.0)
        assert padded.tolist() == [[1, 2, -1], [3, -1, -1], [4, 5, 6]]
        assert rnn.pad_sequence(self.tensors()).shape == (3, 3)
        left = rnn.pad_sequence(self.tensors(), batch_first=True, padding_side="left")
        assert left.tolist() == [[0, 1, 2], [0, 0, 3], [4, 5, 6]]
        back = rnn.unpad_sequence(padded, engine.tensor([2, 1, 3]), batch_first=True)
        assert [row.tolist() for row in back] == [list(values) for values in self.sequences]

    def test_pack_and_unpack_restore_the_order(self) -> None:
        packed = rnn.pack_sequence(self.tensors(), enforce_sorted=False)
        assert packed.data.tolist() == [4, 1, 3, 5, 2, 6] and packed.batch_sizes.tolist() == [3, 2, 1]
        padded, lengths = rnn.pad_packed_sequence(packed, batch_first=True, total_length=4)
        assert padded.tolist() == [[1, 2, 0, 0], [3, 0, 0, 0], [4, 5, 6, 0]] and lengths.tolist() == [2, 1, 3]
        assert [row.tolist() for row in rnn.unpack_sequence(packed)] == [list(values) for values in self.sequences]

    def test_torchs_packed_sequences(self) -> None:
        torch = pytest.importorskip("torch")
        values = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32)
        for batch_first, lengths in ((False, [2, 4, 1]), (True, [1, 3, 2, 3])):
            ours = rnn.pack_padded_sequence(engine.from_numpy(values), lengths, batch_first, enforce_sorted=False)
            theirs = torch.nn.utils.rnn.pack_padded_sequence(
                torch.from_numpy(values), torch.tensor(lengths), batch_first, enforce_sorted=False
            )
            for mine, expected in zip(ours, theirs):
                assert mine.tolist() == expected.tolist()

    def test_gradients_pass_through(self) -> None:
        x = engine.ones(3, 2, requires_grad=True)
        packed = rnn.pack_padded_sequence(x, [3, 1])
        padded, _ = rnn.pad_packed_sequence(packed)
        (padded * 2).sum().backward()
        assert x.grad.tolist() == [[2, 2], [2, 0], [2, 0]]

    @pytest.mark.parametrize(
        ("lengths", "text"),
        [
            ([1, 2], "sorted in decreasing order"),
            ([2, 0], "greater than 0"),
            ([2], "equal to batch_size"),
            ([9, 1], "9"),
        ],
    )
    def test_errors(self, lengths: list[int], text: str) -> None:
        with pytest.raises(RuntimeError, match=text):
            rnn.pack_padded_sequence(engine.zeros(3, 2), lengths)

    def test_more_errors(self) -> None:
        with pytest.raises(ValueError, match="total_length"):
            rnn.pad_packed_sequence(rnn.pack_sequence([engine.ones(3)]), total_length=2)
        with pytest.raises(ValueError, match="padding_side"):
            rnn.pad_sequence([engine.ones(1)], padding_side="top")
        with pytest.raises(RuntimeError, match="Expected iterable"):
            rnn.pad_sequence(3)
        with pytest.raises(RuntimeError, match="empty list"):
            rnn.pad_sequence([])

    @pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
    def test_recurrent_layers_ignore_the_padding(self, kind: str) -> None:
        engine.manual_seed(0)
        layer = getattr(nn, kind)(2, 3, num_layers=2, bidirectional=True)
        sequences = [engine.randn(4, 2), engine.randn(2, 2), engine.randn(5, 2)]
        output, state = layer(rnn.pack_sequence(sequences, enforce_sorted=False))
        padded, lengths = rnn.pad_packed_sequence(output)
        assert lengths.tolist() == [4, 2, 5]
        for i, sequence in enumerate(sequences):
            alone, final = layer(sequence)
            np.testing.assert_allclose(
                padded[: len(sequence), i].detach().numpy(), alone.detach().numpy(), rtol=1e-5, atol=1e-6
            )
            batched, single = (state, final) if kind != "LSTM" else (state[0], final[0])
            np.testing.assert_allclose(batched[:, i].detach().numpy(), single.detach().numpy(), rtol=1e-5, atol=1e-6)


class TestSpectralNorm:
    def test_torchs_numbers(self) -> None:
        torch = pytest.importorskip("torch")

        def train(library: Any, neural: Any) -> list[np.ndarray]:
            library.manual_seed(0)
            layers = [neural.Conv1d(2, 3, 2), neural.ConvTranspose1d(2, 3, 2)]
            values = []
            for layer in layers:
                neural.utils.spectral_norm(layer, n_power_iterations=2)
                for _ in range(2):
                    layer(library.ones(1, 2, 4)).sum().backward()
                layer.eval()(library.ones(1, 2, 4)).sum().backward()
                values += [layer.weight_orig.grad, layer.weight_u, *layer.state_dict().values()]
            return [value.detach().numpy() for value in values]

        for mine, expected in zip(train(engine, nn), train(torch, torch.nn)):
            np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)

    def test_largest_singular_value_is_one_and_removal_keeps_it(self) -> None:
        engine.manual_seed(0)
        layer = nn.utils.spectral_norm(nn.Linear(4, 3), n_power_iterations=50)
        layer(engine.ones(1, 4))
        nn.utils.remove_spectral_norm(layer)
        assert isinstance(layer.weight, nn.Parameter) and sorted(layer.state_dict()) == ["bias", "weight"]
        assert np.linalg.svd(layer.weight.detach().numpy())[1][0] == pytest.approx(1.0, rel=1e-4)

    def test_errors(self) -> None:
        layer = nn.utils.spectral_norm(nn.Linear(1, 1))
        with pytest.raises(RuntimeError, match="two spectral_norm hooks"):
            nn.utils.spectral_norm(layer)
        with pytest.raises(ValueError, match="n_power_iterations=0"):
            nn.utils.spectral_norm(nn.Linear(1, 1), n_power_iterations=0)
        with pytest.raises(ValueError, match="spectral_norm of 'bias' not found"):
            nn.utils.remove_spectral_norm(layer, "bias")


class TestWeightNorm:
    def test_value_gradients_and_removal(self) -> None:
        engine.manual_seed(0)
        layer = nn.Linear(3, 2)
        plain = copy.deepcopy(layer)
        assert nn.utils.weight_norm(layer) is layer
        assert sorted(layer.state_dict()) == ["bias", "weight_g", "weight_v"] and layer.weight_g.shape == (2, 1)
        x = engine.randn(4, 3)
        np.testing.assert_allclose(layer(x).detach().numpy(), plain(x).detach().numpy(), rtol=1e-5, atol=1e-6)
        layer(x).sum().backward()
        assert layer.weight_g.grad is not None and layer.weight_v.grad is not None
        with engine.no_grad():
            layer.weight_g.mul_(2)
        doubled = layer(x) - layer.bias
        np.testing.assert_allclose(
            doubled.detach().numpy(), 2 * (plain(x) - plain.bias).detach().numpy(), rtol=1e-5, atol=1e-6
        )
        nn.utils.remove_weight_norm(layer)
        assert sorted(layer.state_dict()) == ["bias", "weight"] and isinstance(layer.weight, nn.Parameter)
        np.testing.assert_allclose(
            (layer(x) - layer.bias).detach().numpy(), doubled.detach().numpy(), rtol=1e-5, atol=1e-6
        )

    def test_over_the_whole_weight(self) -> None:
        assert nn.utils.weight_norm(nn.Conv1d(2, 3, 2), dim=None).weight_g.shape == ()
        assert nn.utils.weight_norm(nn.Conv1d(2, 3, 2), dim=1).weight_g.shape == (1, 2, 1)

    def test_errors(self) -> None:
        layer = nn.utils.weight_norm(nn.Linear(1, 1))
        with pytest.raises(RuntimeError, match="two weight_norm hooks on the same parameter weight"):
            nn.utils.weight_norm(layer)
        with pytest.raises(ValueError, match="weight_norm of 'bias' not found"):
            nn.utils.remove_weight_norm(layer, "bias")


@pytest.mark.parametrize("transpose", [False, True])
def test_batch_norm_folded_into_the_layer_before_it(transpose: bool) -> None:
    conv = (nn.ConvTranspose2d if transpose else nn.Conv2d)(3, 4, 3, bias=not transpose)
    bn, linear, bn1 = nn.BatchNorm2d(4), nn.Linear(3, 4), nn.BatchNorm1d(4)
    x, rows = engine.randn(2, 3, 6, 6), engine.randn(5, 3)
    bn(conv(x)), bn1(linear(rows))  # running statistics
    for layer in (conv, bn, linear, bn1):
        layer.eval()
    fused = nn.utils.fuse_conv_bn_eval(conv, bn, transpose)
    assert engine.allclose(fused(x), bn(conv(x)), atol=1e-5) and fused.weight.requires_grad
    assert engine.allclose(nn.utils.fuse_linear_bn_eval(linear, bn1)(rows), bn1(linear(rows)), atol=1e-5)
    with pytest.raises(AssertionError, match="eval"):
        nn.utils.fuse_conv_bn_eval(conv.train(), bn)
