"""Names that torch has beside the main ones: facts about tensors, old names, settings, other orders of arguments."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import engine as torch
from engine import nn


def test_result_type_follows_dimensions_first() -> None:
    half = torch.ones(2, dtype=torch.float16)
    assert torch.result_type(half, torch.tensor(1.0, dtype=torch.float64)) == torch.float16
    assert torch.result_type(torch.tensor([1], dtype=torch.uint8), 2) == torch.uint8
    assert torch.result_type(1, 2.0) == torch.float32


def test_broadcast_shapes() -> None:
    assert torch.broadcast_shapes((2, 1), 3) == torch.Size([2, 3])
    assert torch.broadcast_shapes() == torch.Size([])
    with pytest.raises(RuntimeError, match="Shape mismatch"):
        torch.broadcast_shapes((2,), (3,))


def test_layouts_and_memory_formats_have_types() -> None:
    x = torch.ones(2, 3)
    assert isinstance(x.layout, torch.layout) and x.layout == torch.strided
    assert isinstance(torch.channels_last, torch.memory_format) and repr(torch.contiguous_format) == "torch.contiguous_format"
    assert torch.equal(x.clone(memory_format=torch.preserve_format), x)


@pytest.mark.parametrize("name", ["uniform", "normal", "xavier_uniform", "xavier_normal", "kaiming_uniform",
                                  "kaiming_normal", "orthogonal", "eye"])  # fmt: skip
def test_old_initialisers_warn_and_do_the_same(name: str) -> None:
    torch.manual_seed(1)
    with pytest.warns(FutureWarning, match=f"{name}_"):
        old = getattr(nn.init, name)(torch.empty(3, 4))
    torch.manual_seed(1)
    assert torch.equal(old, getattr(nn.init, name + "_")(torch.empty(3, 4)))


def test_old_clip_grad_norm() -> None:
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([3.0, 4.0])
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        assert nn.utils.clip_grad_norm([p], 1.0).item() == 5


def test_skip_init_draws_nothing() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    assert nn.utils.skip_init(nn.Linear, 2, 3).weight.shape == (3, 2)
    assert torch.equal(torch.rand(2), expected)
    with pytest.raises(RuntimeError, match="'device'"):
        nn.utils.skip_init(nn.ReLU)


def test_old_arguments_of_hardtanh() -> None:
    with pytest.warns(FutureWarning, match="min_val"):
        assert repr(nn.Hardtanh(min_value=-2, max_value=3)) == "Hardtanh(min_val=-2, max_val=3)"


@pytest.fixture
def settings() -> Iterator[None]:
    yield
    torch.set_deterministic_debug_mode("default")
    torch.set_warn_always(False)
    torch.set_anomaly_enabled(False)


def test_settings_are_kept(settings: None) -> None:
    torch.set_deterministic_debug_mode("warn")
    assert torch.get_deterministic_debug_mode() == 1 and torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_deterministic_debug_mode(2)
    assert torch.get_deterministic_debug_mode() == 2 and torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="invalid value of debug_mode"):
        torch.set_deterministic_debug_mode(7)
    torch.set_warn_always(True)
    assert torch.is_warn_always_enabled() and torch.set_flush_denormal(True) is False
    torch.set_anomaly_enabled(True, check_nan=False)
    assert torch.is_anomaly_enabled() and not torch.is_anomaly_check_nan_enabled()


def test_from_dlpack_copies_when_told() -> None:
    array = np.arange(3.0)
    shared, copied = torch.from_dlpack(array), torch.from_dlpack(array, device="cpu", copy=True)
    array[0] = 7
    assert shared[0] == 7 and copied[0] == 0


def test_functions_of_methods_change_the_tensor() -> None:
    x = torch.ones(3)
    assert torch.zero_(x) is x and x.sum() == 0
    y = torch.ones(2, requires_grad=True)
    assert not torch.detach(y).requires_grad
    torch.index_put_(x, (torch.tensor([1]),), torch.tensor([5.0]))
    assert x.tolist() == [0, 5, 0]
    assert [part.tolist() for part in x.split(split_size=2)] == [[0, 5], [0]]


@pytest.mark.parametrize("name", ["dropout_", "alpha_dropout_", "feature_dropout_", "feature_alpha_dropout_"])
def test_in_place_dropouts_equal_their_functions(name: str) -> None:
    x = torch.ones(4, 5, 2)
    torch.manual_seed(3)
    expected = getattr(torch, name[:-1])(x, 0.5, True)
    torch.manual_seed(3)
    assert getattr(torch, name)(x, 0.5, True) is x and torch.equal(x, expected)
    assert not torch.equal(x, torch.ones(4, 5, 2))


def test_new_makes_tensors_of_the_same_dtype() -> None:
    x = torch.ones(1, dtype=torch.float64)
    assert x.new(2, 3).shape == (2, 3) and x.new().shape == (0,) and x.new(torch.Size([4])).shape == (4,)
    assert x.new([1, 2]).dtype == torch.float64


@pytest.mark.parametrize("bad, text", [((0, 0, 1.0), "non-positive-norm"), ((2, 0, -1.0), "maxnorm")])
def test_renorm_says_what_is_wrong(bad: tuple, text: str) -> None:
    with pytest.raises(RuntimeError, match=text):
        torch.renorm(torch.ones(2, 2), *bad)
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        torch.renorm(torch.ones(2), 2, 0, 1.0)


def test_old_resize_is_a_reshape() -> None:
    x = torch.arange(4)
    with pytest.warns(UserWarning, match="reshape"):
        assert x.resize(2, 2).shape == (2, 2)
    with pytest.warns(UserWarning, match="reshape"), pytest.raises(RuntimeError):
        x.resize_as(torch.zeros(3))


def test_empty_permuted_lays_dimensions_out() -> None:
    x = torch.empty_permuted((2, 3, 4), (0, 2, 1), dtype=torch.float64)
    assert x.shape == (2, 3, 4) and x.stride() == (12, 1, 3) and x.dim_order() == (0, 2, 1)
    with pytest.raises(RuntimeError, match="physical_layout"):
        torch.empty_permuted((2, 3), (0, 0))
