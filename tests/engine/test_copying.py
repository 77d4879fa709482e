"""Large copies: every layout comes out row-major, with the same elements."""

from __future__ import annotations

import numpy as np
import pytest

import engine as torch
from engine import copying, pool
from engine.copying import row_major_copy

LAYOUTS = {
    "transposed": lambda x: x.reshape(60, 40).T,
    "last two of three": lambda x: x.reshape(4, 20, 30).transpose(0, 2, 1),
    "heads": lambda x: x.reshape(4, 10, 6, 10).transpose(0, 2, 1, 3),
    "cut": lambda x: x.reshape(60, 40)[3:50, 1:39],
    "backwards": lambda x: x.reshape(60, 40)[::-1, ::-1],
    "repeated": lambda x: np.broadcast_to(x.reshape(60, 40)[:, :1], (60, 40)),
    "repeated first": lambda x: np.broadcast_to(x.reshape(60, 40)[0], (60, 40)),
    "one row": lambda x: x.reshape(60, 40).T.reshape(1, 40, 60)[:, :, 5:],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_row_major_copies(layout: str, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_LARGE", 2)
    array = LAYOUTS[layout](np.arange(2400).astype(dtype))
    for threads in (1, 2):
        monkeypatch.setattr(pool, "_count", threads)
        copy = row_major_copy(array)
        assert copy.flags.c_contiguous and not np.shares_memory(copy, array)
        np.testing.assert_array_equal(copy, array, strict=True)


def test_large_tensors_keep_their_semantics() -> None:
    x = torch.arange(512 * 512.0).view(512, 512).requires_grad_()
    y = x.t()
    assert y.reshape(512 * 512).tolist()[:3] == [0, 512, 1024]
    assert y.contiguous().stride() == (512, 1)
    assert x.view(512, 2, 256).transpose(0, 1)[0].reshape(-1).data_ptr() != x.data_ptr()
    assert x[:, None].reshape(512, 512).data_ptr() == x.data_ptr()  # still a view where one will do
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        y.reshape(3, 5)
    (y.contiguous() * torch.arange(512.0)).sum().backward()
    assert x.grad[7, :3].tolist() == [7, 7, 7] and x.grad.is_contiguous()


def test_large_copies_in_blocks() -> None:
    """What joins, repeats, reverses and pads gives what NumPy gives, also where an operand lies in another order."""
    x = np.random.default_rng(0).random((300, 500, 3)).astype(np.float32)
    given, turned = torch.from_numpy(x), torch.from_numpy(x.transpose(1, 0, 2).copy()).transpose(0, 1)
    for counts in ((2, 1, 1), (1, 2, 3), (2, 2, 1, 2), (1, 1, 1), (0, 1, 1)):
        np.testing.assert_array_equal(given.repeat(*counts).numpy(), np.tile(x, counts))
    for dim in range(3):
        np.testing.assert_array_equal(torch.cat([given, turned, given], dim).numpy(), np.concatenate([x, x, x], dim))
        np.testing.assert_array_equal(torch.flip(turned, (dim,)).numpy(), np.flip(x, dim))
    for dim in range(4):
        np.testing.assert_array_equal(torch.stack([given, turned], dim).numpy(), np.stack([x, x], dim))
    padded = torch.nn.functional.pad(turned, (1, 2, -3, 4), value=3)
    np.testing.assert_array_equal(padded.numpy(), np.pad(x[:, 3:], ((0, 0), (0, 4), (1, 2)), constant_values=3))
