"""float8 dtypes: converted, printed, saved and loaded as in torch; arithmetic needs a wider type."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest

import engine
from engine.serialization import SaveError, save_torch

NUMBERS = [1.0, 1000.0, -3.3, float("nan"), float("inf"), -float("inf"), 1e-9, 464.0, 465.0, 0.3, -57345.0]
NAMES = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")


@pytest.mark.parametrize("name", NAMES)
def test_like_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = (lib.tensor(NUMBERS).to(getattr(lib, name)) for lib in (engine, torch))
    assert repr(ours) == repr(theirs)
    np.testing.assert_array_equal(ours.float().numpy(), theirs.float().numpy())
    if name != "float8_e5m2fnuz":  # torch says that its eps is 0.125; it has two bits
        assert repr(engine.finfo(getattr(engine, name))) == repr(torch.finfo(getattr(torch, name)))
    there, back = io.BytesIO(), io.BytesIO()
    torch.save({"a": theirs}, there)
    save_torch({"a": ours}, back)
    there.seek(0)
    back.seek(0)
    read, returned = engine.load(there)["a"], torch.load(back)["a"]
    assert read.dtype is getattr(engine, name) and returned.dtype is getattr(torch, name)
    np.testing.assert_array_equal(read.float().numpy(), returned.float().numpy())


def test_what_a_storage_type_can_do(tmp_path) -> None:
    x = engine.tensor([[1.0, 2.0], [3.0, 500.0]], dtype=engine.float8_e4m3fn)
    assert x.tolist() == [[1.0, 2.0], [3.0, 448.0]] and x[0, 1].item() == 2.0 and x.element_size() == 1
    assert engine.cat([x, x.t()]).shape == (4, 2) and (x == x).all() and pickle.loads(pickle.dumps(x)).tolist() == x.tolist()
    engine.save({"x": x}, tmp_path / "x.ckpt")
    assert engine.load(tmp_path / "x.ckpt")["x"].dtype is engine.float8_e4m3fn
    with pytest.raises(RuntimeError, match="Float8"):
        x + x.float()
    with pytest.raises(SaveError, match="save_torch"):
        engine.save({"x": x.to(engine.float8_e5m2fnuz)}, tmp_path / "y.ckpt")
