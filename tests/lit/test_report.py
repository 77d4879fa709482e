"""``lit report``: what stands on the page, what it shows without a script, and that it loads nothing."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import engine
import lit as pl
from lit.__main__ import main
from lit.report import find_runs, write_report
from lit.report.curves import make_charts, thinned, ticks
from lit.report.events import read_scalars
from loggers import CSVLogger, JSONLinesLogger, TensorBoardLogger


def log_run(logger: Any, lr: float = 0.1, steps: int = 20) -> str:
    logger.log_hyperparams({"lr": lr, "optim": {"name": "adam", "betas": [0.9, 0.99]}})
    logger.log_environment({"started": 1.7e9, "python": "3.11.7"})
    for step in range(steps):
        logger.log_metrics({"train_loss": 1 / (step + 1), "lr-Adam": lr, "grad_2.0_norm_total": 2.0}, step)
    logger.log_metrics({"val_loss": 0.25, "acc": 0.5}, steps)
    logger.log_metrics({"val_loss": math.nan, "acc": 0.75}, steps + 1)
    logger.finalize("success")
    return logger.log_dir


@pytest.mark.parametrize("kind", [CSVLogger, JSONLinesLogger, TensorBoardLogger])
def test_every_logger_of_a_folder_is_read(tmp_path: Path, kind: type) -> None:
    log_run(kind(tmp_path, "digits"))
    (run,) = find_runs([tmp_path])
    assert run.name == "version_0" and run.hparams == {"lr": "0.1", "optim/name": "adam", "optim/betas": "0.9, 0.99"}
    assert run.metrics["train_loss"].values == pytest.approx([1 / (step + 1) for step in range(20)])
    assert run.metrics["val_loss"].steps == [20, 21] and math.isnan(run.metrics["val_loss"].values[1])
    assert run.environment["python"] == "3.11.7"
    titles = {(chart.section, chart.title): [line.label for line in chart.lines] for chart in make_charts([run])}
    assert titles["Loss", "loss"] == ["train_loss", "val_loss"]
    assert {section for section, _ in titles} == {"Loss", "Metrics", "Learning rate", "Gradients"}


def test_event_files_that_were_cut_off_are_read_to_there(tmp_path: Path) -> None:
    folder = Path(log_run(TensorBoardLogger(tmp_path, "digits")))
    (path,) = folder.glob("events*")
    whole = list(read_scalars(path))
    assert ("acc", 21, 0.75) in [scalar[:3] for scalar in whole] and whole[0][3] > 1e9
    path.write_bytes(path.read_bytes()[:-7])
    assert repr(list(read_scalars(path))) == repr(whole[:-1])  # NaN is not equal to itself


class Page(HTMLParser):
    """The tags of a page, and whether they are closed in order."""

    VOID = ("meta", "link", "input", "line", "circle", "polyline", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_one_run_as_a_page(tmp_path: Path) -> None:
    class Net(pl.LightningModule):
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = engine.nn.Linear(width, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.layer(batch).pow(2).mean()
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return engine.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", logger=TensorBoardLogger(tmp_path, "<net>"), log_every_n_steps=1,
        callbacks=[pl.callbacks.LearningRateMonitor()], enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Net(), engine.utils.data.DataLoader(engine.ones(8, 3), batch_size=4))
    assert main(["report", trainer.log_dir, "--title", "A & B"]) == 0
    text = Path(trainer.log_dir, "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    for part in ("<title>A &amp; B</title>", "Learning rate", "epoch=2-step=6.ckpt", "layer.weight", "width", "32-true",
                 "<polyline", 'aria-label="Line chart of loss. train_loss: from '):  # fmt: skip
        assert part in text
    assert not re.search(r"(?:src|href)=\"(?!#|data:)|url\(|@import|https?://(?!www\.w3\.org)", text)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"][1:] for tag, attributes in page.tags if tag == "a"]  # type: ignore[index]
    assert targets and set(targets) <= set(ids)


def test_several_runs_are_compared(tmp_path: Path) -> None:
    for lr in (0.1, 0.2, 0.3):
        log_run(CSVLogger(tmp_path, "digits"), lr)
    with open(Path(tmp_path, "digits", "version_2", "metrics.csv"), "a") as file:
        file.write("22,,,,0.125,0.9\n")
    text = write_report([tmp_path / "digits"], tmp_path / "out" / "all.html").read_text(encoding="utf-8")
    table = text[text.index("<tbody>") : text.index("</tbody>")]
    assert [name in table for name in ("version_0", "version_1", "version_2")] == [True] * 3
    assert "<b>0.125</b>" in table and table.count("<b>0.25</b>") == 0
    heads = re.findall(r'<button type="button">(.*?)</button>', text)
    assert heads[0] == "run" and "lr" in heads and "optim/name" not in heads  # only what differs
    assert text.count("<svg") == 5


def test_names_and_values_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, "evil")
    logger.log_hyperparams({"note": "</script><script>alert(1)</script>"})
    for step in range(3):
        logger.log_metrics({"</script><b>loss": 1.0}, step)
    logger.finalize("success")
    text = write_report([tmp_path]).read_text(encoding="utf-8")
    assert Page(text).open == [] and "alert(1)</script>" not in text.replace("&lt;/script&gt;", "") and "<b>loss" not in text


def test_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_run(CSVLogger(tmp_path, "digits"))
    assert main(["report", str(tmp_path), "--terminal"]) == 0
    text = capsys.readouterr().out
    assert "train_loss: 1 → 0.05, lowest 0.05, highest 1" in text and "val_loss: 0.25 → NaN" in text
    assert "1 not finite" in text and re.search("[\u2801-\u28ff]", text)


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "missing")]) == 1
    assert "no folder" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 1
    assert "no run" in capsys.readouterr().err


def test_thinning_keeps_ends_and_extremes() -> None:
    values = [math.sin(i / 50) for i in range(5000)]
    values[1234], values[4000] = 9.0, -9.0
    steps, kept = thinned([float(i) for i in range(5000)], values, 100)
    assert len(kept) <= 100 and kept[0] == values[0] and kept[-1] == values[-1] and {9.0, -9.0} <= set(kept)
    assert steps == sorted(steps)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 1e6), (1e-9, 2e-9), (5, 5), (0.3, 0.7)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 1 <= len(found) <= 12 and all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHECK = """<script>
const before = document.querySelector("#chart-0 polyline").getAttribute("points");
const log = document.getElementById("log"); log.checked = true; log.dispatchEvent(new Event("input"));
const after = document.querySelector("#chart-0 polyline").getAttribute("points");
document.getElementById("smooth").value = 50; document.getElementById("smooth").dispatchEvent(new Event("input"));
document.querySelector("table.sortable button").click(); document.querySelector("table.sortable button").click();
const svg = document.querySelector("#chart-0 svg"), box = svg.getBoundingClientRect();
svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top + 20 }));
document.body.innerHTML = "<pre id=answer>" + JSON.stringify({
  wide: document.documentElement.scrollWidth <= innerWidth, changed: before !== after,
  raw: document.querySelectorAll("#chart-0 polyline.raw").length, first: document.querySelector("td").textContent,
  tip: document.querySelector(".tip").textContent }) + "</pre>";
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_in_a_browser(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        log_run(CSVLogger(tmp_path, "digits"), lr)
    page = write_report([tmp_path])
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", CHECK + "</body>"), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--dump-dom", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)  # type: ignore[arg-type]
    answer = json.loads(re.search(r'<pre id="answer">(.*?)</pre>', done.stdout)[1])  # type: ignore[index]
    assert answer["wide"] and answer["changed"] and answer["raw"] == 2 and answer["first"] == "version_1"
    assert answer["tip"].startswith("step ") and "version_0" in answer["tip"]
