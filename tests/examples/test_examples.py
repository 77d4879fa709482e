"""Every example explains itself, and runs for a few steps."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent.parent.parent / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, out: Path, *arguments: str) -> object:
    return example(name).main(["--accelerator", "cpu", "--out", str(out), *arguments])


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", EXAMPLES)
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        example(name).main(["--help"])
    assert done.value.code == 0
    assert "--max-steps" in capsys.readouterr().out


def test_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    accuracy = run("digits", tmp_path, "--max-steps", "120")
    assert isinstance(accuracy, float) and accuracy > 0.8
    assert list(tmp_path.rglob("digits-*.ckpt")), "no checkpoint was written"
    assert "val_acc" in next(tmp_path.rglob("metrics.csv")).read_text()
    assert "test accuracy" in capsys.readouterr().out


def test_gpt_source(tmp_path: Path) -> None:
    written = run("gpt_source", tmp_path, "--max-steps", "3", "--megabytes", "0.05", "--width", "16", "--layers", "1",
                  "--length", "16", "--characters", "20")  # fmt: skip
    assert isinstance(written, str) and written.startswith("def ") and len(written) == 24


def test_gan(tmp_path: Path) -> None:
    share, found = run("gan", tmp_path, "--max-steps", "4", "--batch-size", "64")  # type: ignore[misc]
    assert 0.0 <= share <= 1.0 and 0 <= found <= 8


def test_gan_quality_counts_points_and_clouds() -> None:
    gan = example("gan")
    assert gan.quality(gan.centres().repeat(10, 1)) == (1.0, 8)
    assert gan.quality(gan.centres()[:2].repeat(10, 1) + 0.1) == (1.0, 2)
    assert gan.quality(gan.centres() * 2) == (0.0, 0)
    assert len(gan.drawing(gan.centres()).splitlines()) == 21


def test_rnn(tmp_path: Path) -> None:
    accuracy = run("rnn", tmp_path, "--max-steps", "4", "--lines", "2000", "--streams", "4", "--width", "8")
    assert isinstance(accuracy, float) and math.isfinite(accuracy)


def test_rnn_series_lines_up_with_what_follows() -> None:
    rnn = example("rnn")
    data = rnn.Streams(rnn.source_series(101), count=4, length=5)
    lines, depths = data[0]
    assert lines.shape == (4, 5, rnn.FEATURES) and depths.shape == (4, 5)
    assert lines[:, 1:, : rnn.DEPTHS].argmax(dim=-1).tolist() == depths[:, :-1].tolist()
    same, colon = rnn.simple_forecasts(data)
    assert 0.0 < same < 1.0 and 0.0 < colon <= 1.0
