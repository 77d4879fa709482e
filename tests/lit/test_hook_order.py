"""The hook order of whole runs: against lists written down here, and against Lightning where it is installed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import engine
import lit
from lit.hooks import HOOKS
from lit.recorder import Recorder
from tests.lit.boring import QUIET, boring_datamodule, boring_module

Edit = Callable[[Any, Any, type], type]

# ---------------------------------------------------------------------- the runs


def record(
    library: Any,
    torch: Any,
    entry_point: str = "fit",
    edit: Edit | None = None,
    with_datamodule: bool = False,
    extra_callbacks: tuple[Any, ...] = (),
    ckpt_path: str | None = None,
    raises: type[BaseException] | tuple[()] = (),
    **flags: Any,
) -> tuple[Recorder, Any]:
    """Run the boring module with every hook recorded; returns the recorder and the Trainer."""
    recorder = Recorder()
    base = boring_module(library, torch)
    module = recorder.recording(base if edit is None else edit(library, torch, base), "M")()
    callback = recorder.recording(library.Callback, "C")()
    arguments: dict[str, Any] = {}
    if with_datamodule:
        arguments["datamodule"] = recorder.recording(boring_datamodule(library, torch), "D")()
    if ckpt_path is not None:
        arguments["ckpt_path"] = ckpt_path
    if entry_point in ("validate", "test"):
        arguments["verbose"] = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = library.Trainer(callbacks=[callback, *extra_callbacks], **{**QUIET, **flags})
        with suppress(raises):
            getattr(trainer, entry_point)(module, **arguments)
    return recorder, trainer


def ours(*args: Any, **kwargs: Any) -> list[str]:
    """Names in starting order of a run of ours."""
    return record(lit, engine, *args, **kwargs)[0].starts()


def saver(library: Any, hook: str, path: Path, when: Callable[[Any], bool] = lambda trainer: True) -> Any:
    """A callback that writes one checkpoint in ``hook``."""

    def save(self: Any, trainer: Any, module: Any, *args: Any) -> None:
        if not path.exists() and not trainer.sanity_checking and when(trainer):
            trainer.save_checkpoint(path)

    return type("Saver", (library.Callback,), {hook: save})()


# ---------------------------------------------------------------------- the lists, as building blocks


def both(name: str) -> list[str]:
    return [f"C.{name}", f"M.{name}"]


BEGIN = ["M.configure_callbacks", "M.prepare_data", *both("setup"), "M.configure_model"]
END = both("teardown")
FIT_BEGIN = [*BEGIN, "M.configure_optimizers", *both("on_fit_start"), "M.zero_grad"]
FIT_END = [*both("on_train_end"), *both("on_fit_end"), *END]
TRANSFER = ["M.on_before_batch_transfer", "M.transfer_batch_to_device", "M.on_after_batch_transfer"]
BACKWARD = [*both("on_before_backward"), "M.backward", *both("on_after_backward")]
ZERO_GRAD = [*both("on_before_zero_grad"), "M.optimizer_zero_grad"]
BEFORE_STEP = both("on_before_optimizer_step")
CLIPPING = ["M.configure_gradient_clipping", "M.clip_gradients"]
FORWARD = ["M.training_step", "M.forward"]
OPTIMIZER_STEP = ["M.optimizer_step", *FORWARD, *ZERO_GRAD, *BACKWARD, *BEFORE_STEP, *CLIPPING]
SCHEDULER = ["M.lr_scheduler_step"]


def train_batch(step: list[str] = OPTIMIZER_STEP, scheduler: bool = False) -> list[str]:
    schedulers = SCHEDULER if scheduler else []
    return [*TRANSFER, *both("on_train_batch_start"), *step, *schedulers, *both("on_train_batch_end")]


def evaluation(word: str, batches: int) -> list[str]:
    batch = [
        *TRANSFER,
        *both(f"on_{word}_batch_start"),
        f"M.{word}_step",
        "M.forward",
        *both(f"on_{word}_batch_end"),
    ]
    back = [] if word == "predict" else [f"M.on_{word}_model_train", "M.train"]
    return [
        *[f"M.on_{word}_model_eval", "M.eval", "M.train"],
        *both(f"on_{word}_start"),
        *both(f"on_{word}_epoch_start"),
        *(batch * batches),
        *both(f"on_{word}_epoch_end"),
        *both(f"on_{word}_end"),
        *back,
    ]


def validation(batches: int) -> list[str]:
    """Validation inside fit, when the optimizer has just stepped."""
    return ["M.on_validation_model_zero_grad", "M.zero_grad", *evaluation("validation", batches)]


def sanity_check(batches: int) -> list[str]:
    return [
        "C.on_sanity_check_start",
        "M.val_dataloader",
        *evaluation("validation", batches),
        "C.on_sanity_check_end",
    ]


def epoch(*batches: list[str]) -> list[str]:
    inside = [name for batch in batches for name in batch]
    return [*both("on_train_epoch_start"), *inside, *both("on_train_epoch_end")]


def with_datamodule(names: list[str]) -> list[str]:
    """The same run with a datamodule that has every data hook."""
    moved = {f"M.{h.name}": f"D.{h.name}" for h in HOOKS if h.name.endswith(("_dataloader", "_transfer", "_to_device"))}
    result: list[str] = []
    for name in names:
        if name == "M.prepare_data":
            result.append("D.prepare_data")
        if name in ("C.setup", "C.teardown"):
            result.append(name.replace("C.", "D."))
        result.append(moved.get(name, name))
    return result


# ---------------------------------------------------------------------- against the lists

FIT = [
    *FIT_BEGIN,
    *sanity_check(2),
    "M.train_dataloader",
    *both("on_train_start"),
    *epoch(train_batch(), train_batch(scheduler=True), validation(2)),
    *epoch(train_batch(), train_batch(scheduler=True), validation(2)),
    *FIT_END,
]


def test_fit() -> None:
    assert ours(max_epochs=2, limit_train_batches=2, limit_val_batches=2) == FIT


def test_fit_with_datamodule() -> None:
    assert ours(with_datamodule=True, max_epochs=2, limit_train_batches=2, limit_val_batches=2) == with_datamodule(FIT)


def test_fit_without_validation() -> None:
    expected = [
        *[*FIT_BEGIN, "M.train_dataloader", *both("on_train_start")],
        *epoch(train_batch(), train_batch(scheduler=True)),
        *FIT_END,
    ]
    assert ours(max_epochs=1, limit_train_batches=2, limit_val_batches=0) == expected


def test_no_training_batches() -> None:
    expected = [*FIT_BEGIN, *sanity_check(1), *both("on_fit_end"), *END]
    assert ours(max_epochs=1, limit_train_batches=0, limit_val_batches=1) == expected


def test_accumulation() -> None:
    first = [*FORWARD, *ZERO_GRAD, *BACKWARD]
    second = ["M.optimizer_step", *FORWARD, *BACKWARD, *BEFORE_STEP, *CLIPPING]
    last = OPTIMIZER_STEP
    expected = [
        *[*FIT_BEGIN, "M.train_dataloader", *both("on_train_start")],
        *epoch(train_batch(first), train_batch(second), train_batch(last, scheduler=True)),
        *FIT_END,
    ]
    assert ours(max_epochs=1, limit_train_batches=3, limit_val_batches=0, accumulate_grad_batches=2) == expected


def manual(library: Any, torch: Any, base: type) -> type:
    class Manual(base):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            optimizer = self.optimizers()

            def closure() -> Any:
                loss = self.loss(batch)
                self.manual_backward(loss)
                return loss

            optimizer.zero_grad()
            if batch_idx == 0:
                closure()
                optimizer.step()
            else:
                optimizer.step(closure)
            self.lr_schedulers().step()
            return {"anything": 1}

    return Manual


def test_manual_optimization() -> None:
    batch = train_batch([*FORWARD, *BACKWARD, *BEFORE_STEP])
    expected = [*FIT_BEGIN, "M.train_dataloader", *both("on_train_start"), *epoch(batch, batch), *FIT_END]
    assert ours(edit=manual, max_epochs=1, limit_train_batches=2, limit_val_batches=0) == expected


def skips_second_batch(library: Any, torch: Any, base: type) -> type:
    def on_train_batch_start(self: Any, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == 1 else None

    return type("Skips", (base,), {"on_train_batch_start": on_train_batch_start})


def test_minus_one_skips_the_rest_of_the_epoch() -> None:
    skipped = [*TRANSFER, *both("on_train_batch_start"), *SCHEDULER]
    expected = [
        *[*FIT_BEGIN, *sanity_check(1), "M.train_dataloader", *both("on_train_start")],
        *epoch(train_batch(), skipped),
        *FIT_END,
    ]
    run = ours(edit=skips_second_batch, max_epochs=1, limit_train_batches=3, limit_val_batches=1)
    assert run == expected


def returns_none(library: Any, torch: Any, base: type) -> type:
    return type("ReturnsNone", (base,), {"training_step": lambda self, batch, batch_idx: None})


def test_training_step_returns_none() -> None:
    step = ["M.optimizer_step", "M.training_step", *ZERO_GRAD, *BEFORE_STEP, *CLIPPING]
    expected = [
        *[*FIT_BEGIN, "M.train_dataloader", *both("on_train_start")],
        *epoch(train_batch(step, scheduler=True)),
        *FIT_END,
    ]
    assert ours(edit=returns_none, max_epochs=1, limit_train_batches=1, limit_val_batches=0) == expected


def stops_after_first_step(library: Any, torch: Any, base: type) -> type:
    def on_train_batch_end(self: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.trainer.global_step == 1:
            self.trainer.should_stop = True

    return type("Stops", (base,), {"on_train_batch_end": on_train_batch_end})


def test_should_stop_validates_first_and_waits_for_min_epochs() -> None:
    begin = [*FIT_BEGIN, *sanity_check(1), "M.train_dataloader", *both("on_train_start")]
    flags = {"max_epochs": 3, "limit_train_batches": 2, "limit_val_batches": 1}
    at_once = [*begin, *epoch(train_batch(), validation(1)), *FIT_END]
    assert ours(edit=stops_after_first_step, **flags) == at_once
    whole = epoch(train_batch(), train_batch(scheduler=True), validation(1))
    assert ours(edit=stops_after_first_step, min_epochs=1, **flags) == [*begin, *whole, *FIT_END]


@pytest.mark.parametrize("entry_point", ["validate", "test", "predict"])
@pytest.mark.parametrize("batches", [0, 2])
@pytest.mark.parametrize("data", [False, True])
def test_evaluation(entry_point: str, batches: int, data: bool) -> None:
    word, loader = {
        "validate": ("validation", "val"),
        "test": ("test", "test"),
        "predict": ("predict", "predict"),
    }[entry_point]
    loop = [f"M.{loader}_dataloader", *evaluation(word, batches)] if batches else []
    expected = [*BEGIN, "M.zero_grad", *loop, *END]
    run = ours(entry_point, with_datamodule=data, **{f"limit_{loader}_batches": batches})
    assert run == (with_datamodule(expected) if data else expected)


def raises_in_batch_end(exception: type[BaseException]) -> Edit:
    def edit(library: Any, torch: Any, base: type) -> type:
        def on_train_batch_end(self: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            raise exception("on purpose")

        return type("Raises", (base,), {"on_train_batch_end": on_train_batch_end})

    return edit


@pytest.mark.parametrize(("raised", "ends_as"), [(RuntimeError, RuntimeError), (KeyboardInterrupt, SystemExit)])
def test_exception(raised: type[BaseException], ends_as: type[BaseException]) -> None:
    expected = with_datamodule(
        [
            *[*FIT_BEGIN, "M.train_dataloader", *both("on_train_start"), *both("on_train_epoch_start")],
            *train_batch(),
            *["C.on_exception", "D.on_exception"],
        ]
    )
    flags = {"with_datamodule": True, "limit_train_batches": 2, "limit_val_batches": 0}
    run = ours(edit=raises_in_batch_end(raised), raises=ends_as, **flags)
    assert run == expected


def test_save_and_resume_by_epochs(tmp_path: Path) -> None:
    path = tmp_path / "epoch.ckpt"
    flags = {"limit_train_batches": 1, "limit_val_batches": 0, "with_datamodule": True}
    first = ours(max_epochs=1, extra_callbacks=(saver(lit, "on_train_epoch_end", path),), **flags)
    saving = ["C.state_dict", "D.state_dict", *both("on_save_checkpoint")]
    begin = [*FIT_BEGIN, "M.train_dataloader", *both("on_train_start")]
    end_of_epoch = [*both("on_train_epoch_start"), *train_batch(scheduler=True), "C.on_train_epoch_end"]
    expected = [*begin, *end_of_epoch, *saving, "M.on_train_epoch_end", *FIT_END]
    assert first == with_datamodule(expected)

    resumed = ours(max_epochs=2, ckpt_path=str(path), **flags)
    loading = ["M.on_load_checkpoint", "D.load_state_dict", "C.on_load_checkpoint"]
    position = begin.index("M.configure_optimizers")
    expected = [*begin[:position], *loading, *begin[position:], *epoch(train_batch(scheduler=True)), *FIT_END]
    assert resumed == with_datamodule(expected)


def test_resume_by_steps_inside_an_epoch(tmp_path: Path) -> None:
    path = tmp_path / "step.ckpt"
    flags = {"limit_train_batches": 2, "limit_val_batches": 0}
    ours(max_steps=1, extra_callbacks=(saver(lit, "on_train_epoch_end", path),), **flags)
    resumed = ours(max_steps=3, ckpt_path=str(path), **flags)
    expected = [
        *[*BEGIN, "M.on_load_checkpoint", "C.on_load_checkpoint", *FIT_BEGIN[len(BEGIN) :], "M.train_dataloader"],
        *both("on_train_start"),
        *[*train_batch(scheduler=True), *both("on_train_epoch_end")],  # the rest of epoch 0, without a second start
        *epoch(train_batch()),
        *FIT_END,
    ]
    assert resumed == expected


def test_resume_from_validation_end_does_not_validate_again(tmp_path: Path) -> None:
    path = tmp_path / "val.ckpt"
    flags = {"limit_train_batches": 1, "limit_val_batches": 1}
    ours(max_epochs=1, extra_callbacks=(saver(lit, "on_validation_end", path),), **flags)
    resumed = ours(max_epochs=1, ckpt_path=str(path), **flags)
    after_start = resumed[resumed.index("M.on_train_start") + 1 :]
    assert after_start == [*both("on_train_epoch_end"), *FIT_END]
    assert "C.on_sanity_check_start" not in resumed


def test_resume_from_batch_end_validates(tmp_path: Path) -> None:
    path = tmp_path / "batch.ckpt"
    flags = {"limit_train_batches": 1, "limit_val_batches": 1}
    ours(max_epochs=1, extra_callbacks=(saver(lit, "on_train_batch_end", path),), **flags)
    resumed = ours(max_epochs=1, ckpt_path=str(path), **flags)
    after_start = resumed[resumed.index("M.on_train_start") + 1 :]
    assert after_start == [*validation(1), *both("on_train_epoch_end"), *FIT_END]


# ---------------------------------------------------------------------- against Lightning itself


def with_scheduler(interval: str, plateau: bool) -> Edit:
    def edit(library: Any, torch: Any, base: type) -> type:
        class Scheduled(base):  # type: ignore[misc,valid-type]
            def validation_step(self, batch: Any, batch_idx: int) -> None:
                self.log("v", 1.0)

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                loss = self.loss(batch)
                self.log("t", loss)
                return loss

            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
                kinds = torch.optim.lr_scheduler
                scheduler = kinds.ReduceLROnPlateau(optimizer) if plateau else kinds.StepLR(optimizer, 1)
                config = {"scheduler": scheduler, "interval": interval, "frequency": 2 if interval == "step" else 1}
                if plateau:
                    config["monitor"] = "t" if interval == "step" else "v"
                return {"optimizer": optimizer, "lr_scheduler": config}

        return Scheduled

    return edit


ONE_EPOCH = {"max_epochs": 1, "limit_train_batches": 3, "limit_val_batches": 1}
CASES: dict[str, dict[str, Any]] = {
    "fit": {"max_epochs": 2, "limit_train_batches": 2, "limit_val_batches": 2},
    "fit with datamodule": {"with_datamodule": True, **ONE_EPOCH},
    "no validation": {"max_epochs": 2, "limit_train_batches": 2, "limit_val_batches": 0},
    "no training batches": {"max_epochs": 1, "limit_train_batches": 0, "limit_val_batches": 1},
    "manual": {"edit": manual, **ONE_EPOCH},
    "accumulation": {"max_epochs": 1, "limit_train_batches": 5, "limit_val_batches": 1, "accumulate_grad_batches": 2},
    "validation twice per epoch": {**ONE_EPOCH, "limit_train_batches": 4, "val_check_interval": 0.5},
    "validation inside accumulation": {**ONE_EPOCH, "val_check_interval": 1, "accumulate_grad_batches": 2},
    "every second epoch": {
        "max_epochs": 3,
        "limit_train_batches": 1,
        "limit_val_batches": 1,
        "check_val_every_n_epoch": 2,
    },
    "across epochs": {
        "max_steps": 5,
        "limit_train_batches": 2,
        "limit_val_batches": 1,
        "check_val_every_n_epoch": None,
        "val_check_interval": 3,
    },
    "clipping": {**ONE_EPOCH, "gradient_clip_val": 0.1},
    "max_steps": {"max_steps": 3, "limit_train_batches": 2, "limit_val_batches": 1},
    "skip": {"edit": skips_second_batch, **ONE_EPOCH},
    "training_step returns None": {"edit": returns_none, **ONE_EPOCH},
    "stop": {"edit": stops_after_first_step, **ONE_EPOCH},
    "stop with min_steps": {"edit": stops_after_first_step, "min_steps": 5, **ONE_EPOCH, "max_epochs": 3},
    "stop with min_epochs": {"edit": stops_after_first_step, "min_epochs": 2, **ONE_EPOCH, "max_epochs": 4},
    "step scheduler": {"edit": with_scheduler("step", False), **ONE_EPOCH},
    "step plateau": {"edit": with_scheduler("step", True), **ONE_EPOCH, "accumulate_grad_batches": 2},
    "epoch scheduler": {"edit": with_scheduler("epoch", False), **ONE_EPOCH},
    "epoch plateau": {"edit": with_scheduler("epoch", True), **ONE_EPOCH},
    "exception": {
        "edit": raises_in_batch_end(RuntimeError),
        "raises": RuntimeError,
        "with_datamodule": True,
        **ONE_EPOCH,
    },
    "Ctrl-C": {
        "edit": raises_in_batch_end(KeyboardInterrupt),
        "raises": SystemExit,
        "with_datamodule": True,
        **ONE_EPOCH,
    },
    "validate 0": {"entry_point": "validate", "limit_val_batches": 0},
    "validate 2": {"entry_point": "validate", "limit_val_batches": 2, "with_datamodule": True},
    "test 0": {"entry_point": "test", "limit_test_batches": 0, "with_datamodule": True},
    "test 2": {"entry_point": "test", "limit_test_batches": 2},
    "predict 0": {"entry_point": "predict", "limit_predict_batches": 0},
    "predict 2": {"entry_point": "predict", "limit_predict_batches": 2, "with_datamodule": True},
}


@pytest.fixture
def lightning() -> Any:
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("lightning.pytorch")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return library, torch


@pytest.mark.parametrize("case", CASES)
def test_same_as_lightning(case: str, lightning: Any) -> None:
    theirs, their_trainer = record(*lightning, **CASES[case])
    mine, my_trainer = record(lit, engine, **CASES[case])
    assert mine.ends() == theirs.ends()
    assert mine.events == theirs.events  # starts as well, and epoch and batch indices
    assert (my_trainer.global_step, my_trainer.current_epoch) == (
        their_trainer.global_step,
        their_trainer.current_epoch,
    )


ONE_BATCH = {"limit_train_batches": 1, "limit_val_batches": 0}
TWO_BATCHES = {"limit_train_batches": 2, "limit_val_batches": 0}
RESUMES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "by epochs": ("on_train_epoch_end", {"max_epochs": 1, **ONE_BATCH}, {"max_epochs": 2, **ONE_BATCH}),
    "by steps": ("on_train_epoch_end", {"max_steps": 1, **TWO_BATCHES}, {"max_steps": 3, **TWO_BATCHES}),
    "mid-epoch": ("on_train_batch_end", {"max_epochs": 1, **TWO_BATCHES}, {"max_epochs": 2, **TWO_BATCHES}),
    "after validation": (
        "on_validation_end",
        {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1},
        {"max_epochs": 2, "limit_train_batches": 2, "limit_val_batches": 1},
    ),
}


@pytest.mark.parametrize("case", RESUMES)
def test_resumes_as_lightning(case: str, lightning: Any, tmp_path: Path) -> None:
    hook, first, second = RESUMES[case]
    runs = []
    for name, library, torch in (("theirs", *lightning), ("mine", lit, engine)):
        path = tmp_path / f"{name}.ckpt"
        record(library, torch, extra_callbacks=(saver(library, hook, path),), **first)
        runs.append(record(library, torch, ckpt_path=str(path), **second)[0])
    theirs, mine = runs
    assert mine.ends() == theirs.ends()
    assert mine.events == theirs.events
