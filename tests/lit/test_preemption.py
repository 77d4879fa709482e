"""SIGTERM and SIGUSR1 in every phase: exit code 143, a whole checkpoint, and a resumed run that ends the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lit as pl
from lit.preemption import SIGTERMException
from tests.lit import preempted_job
from tests.lit.models import Net, loader, quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Net has a `validation_step`"),
    pytest.mark.filterwarnings("ignore:The checkpoint does not hold the hyper-parameters stop"),
    pytest.mark.skipif(os.name != "posix", reason="POSIX signals"),
]

ROOT = Path(pl.__file__).parent.parent
SECONDS = 60

FIT_PHASES = [
    "prepare_data", "on_sanity_check_start", "on_train_start", "on_train_batch_end", "on_validation_batch_end",
    "on_validation_end", "checkpoint_write", "on_train_epoch_end", "on_fit_end",
]  # fmt: skip


def start(folder: Path, phase: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.lit.preempted_job", str(folder), phase]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(folder / "output", "ab") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )


def run(folder: Path, ckpt_path: str | None = None) -> dict[str, Any]:
    """Run to the end, in this process."""
    preempted_job.main(folder, "none", ckpt_path)
    return json.loads((folder / "result.json").read_text())


def kill_in(folder: Path, phase: str, number: int = signal.SIGTERM, group: bool = False) -> int:
    """Run until `phase`, send the signal, and return the exit code."""
    job = start(folder, phase)
    deadline = time.monotonic() + SECONDS
    try:
        while not (folder / "ready").exists():
            assert job.poll() is None and time.monotonic() < deadline, (folder / "output").read_text()
            time.sleep(0.01)
        (os.killpg if group else os.kill)(job.pid, number)
        return job.wait(SECONDS)
    finally:
        if job.poll() is None:
            job.kill()
            job.wait()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("phase", FIT_PHASES)
def test_a_preempted_fit_goes_on_as_if_nothing_had_been(
    phase: str, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    assert kill_in(tmp_path, phase) == 143, (tmp_path / "output").read_text()
    assert not (tmp_path / "result.json").exists()
    assert len(list(tmp_path.rglob("preempted.ckpt"))) == 1
    assert not list(tmp_path.rglob("*.tmp"))
    assert run(tmp_path, "last") == undisturbed


def test_workers_that_start_slowly_are_not_waited_for(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    assert kill_in(tmp_path, "worker_start") == 143, (tmp_path / "output").read_text()
    resumed = run(tmp_path, "last")
    assert resumed["weights"] == undisturbed["weights"] and resumed["losses"] == undisturbed["losses"]


def test_sigusr1_does_the_same(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    assert kill_in(tmp_path, "on_train_batch_end", signal.SIGUSR1) == 143
    assert run(tmp_path, "last") == undisturbed


def test_a_signal_to_the_process_group_ends_worker_processes_too(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    assert kill_in(tmp_path, "workers", group=True) == 143, (tmp_path / "output").read_text()
    resumed = run(tmp_path, "last")
    assert resumed["weights"] == undisturbed["weights"] and resumed["losses"] == undisturbed["losses"]


@pytest.mark.parametrize("phase", ["on_test_batch_end", "on_predict_batch_end"])
def test_evaluation_ends_between_two_batches_and_writes_nothing(phase: str, tmp_path: Path) -> None:
    assert kill_in(tmp_path, phase) == 143
    assert not list(tmp_path.rglob("*.ckpt"))


# ---------------------------------------------------------------------- in this process


@pytest.fixture(autouse=True)
def handlers_stay() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    yield
    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    for number, handler in zip((signal.SIGTERM, signal.SIGUSR1), before, strict=True):
        signal.signal(number, handler)
    assert after == before


class Signal(pl.Callback):
    """Sends this process a signal in a training batch."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self.batches = 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches += 1
        for number in self.numbers if batch_idx == 1 else ():
            os.kill(os.getpid(), number)


def test_exit_code_hooks_and_an_usable_trainer(tmp_path: Path) -> None:
    class Witness(Signal):
        exception: BaseException | None = None

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            self.exception = exception
            assert (tmp_path / "preempted.ckpt").is_file()

    witness = Witness(signal.SIGTERM)
    trainer = quiet_trainer(callbacks=witness, default_root_dir=tmp_path)
    with pytest.raises(SystemExit) as caught:
        trainer.fit(Net(), loader(count=12, batch_size=2))
    assert caught.value.code == 143 and caught.value is witness.exception
    assert isinstance(caught.value, SIGTERMException)
    assert trainer.received_sigterm and trainer.interrupted and trainer.global_step == witness.batches == 2

    witness.numbers = ()
    trainer.fit(Net(), loader(count=12, batch_size=2), ckpt_path=tmp_path / "preempted.ckpt")
    assert trainer.global_step == 6 and not trainer.received_sigterm


def test_a_run_ends_inside_an_accumulation_window() -> None:
    trainer = quiet_trainer(callbacks=(callback := Signal(signal.SIGTERM)), accumulate_grad_batches=4)
    with pytest.raises(SIGTERMException):
        trainer.fit(Net(), loader(count=12, batch_size=1))
    assert callback.batches == 2 and trainer.global_step == 0


def test_python_handlers_of_the_user_are_called_and_come_back() -> None:
    seen = []

    def handler(number: int, frame: Any) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        trainer = quiet_trainer(callbacks=(callback := Signal(signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1)))
        with pytest.raises(SIGTERMException):
            trainer.fit(Net(), loader(batch_size=2))
        assert seen == [signal.SIGTERM] * 2
        assert callback.batches == 2
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_a_handler_raises_waits_for_the_checkpoint(tmp_path: Path) -> None:
    def handler(number: int, frame: Any) -> None:
        raise RuntimeError("from the handler")

    before = signal.signal(signal.SIGTERM, handler)
    try:
        trainer = quiet_trainer(callbacks=Signal(signal.SIGTERM), default_root_dir=tmp_path)
        with pytest.raises(RuntimeError, match="from the handler"):
            trainer.fit(Net(), loader(batch_size=2))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "preempted.ckpt").is_file()


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        trainer = quiet_trainer(callbacks=Signal(signal.SIGUSR1))
        trainer.fit(Net(), loader(batch_size=2))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not trainer.received_sigterm and trainer.global_step == 6


def test_a_handler_that_the_program_installs_meanwhile_stays() -> None:
    class Install(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    before = signal.getsignal(signal.SIGUSR1)
    try:
        quiet_trainer(callbacks=Install()).fit(Net(), loader())
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_nothing_is_installed_outside_of_the_main_thread() -> None:
    handlers: list[Any] = []

    class Look(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            handlers.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: quiet_trainer(callbacks=Look()).fit(Net(), loader()))
    thread.start()
    thread.join()
    assert handlers == [before]


def test_a_checkpoint_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trainer = quiet_trainer(callbacks=Signal(signal.SIGTERM), default_root_dir=tmp_path / "file")
    with pytest.raises(OSError) as caught:
        trainer.fit(Net(), loader(batch_size=2))
    assert isinstance(caught.value.__cause__ or caught.value.__context__, SIGTERMException)


def test_fast_dev_run_writes_nothing(tmp_path: Path) -> None:
    trainer = quiet_trainer(callbacks=Signal(signal.SIGTERM), default_root_dir=tmp_path, fast_dev_run=4)
    with pytest.raises(SIGTERMException):
        trainer.fit(Net(), loader(batch_size=2))
    assert not list(tmp_path.rglob("*.ckpt"))


# ---------------------------------------------------------------------- Ctrl-C


class CtrlC(Net):
    """Presses it in the middle of a training step, so many times."""

    def __init__(self, times: int, at: int = 2) -> None:
        pl.seed_everything(7, verbose=False)
        super().__init__()
        self.times, self.at = times, at

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        for _ in range(self.times if batch_idx == self.at else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return loss


@pytest.mark.parametrize(("at", "epochs"), [(2, 0), (5, 1)])  # 5: the epoch's last
def test_ctrl_c_ends_a_run_when_its_batch_is_done(at: int, epochs: int, tmp_path: Path) -> None:
    saving = pl.callbacks.ModelCheckpoint(tmp_path, save_on_exception=True, filename="interrupted", every_n_epochs=9)
    trainer = quiet_trainer(callbacks=saving, enable_checkpointing=True, max_epochs=3)
    with pytest.raises(SystemExit) as ended:
        trainer.fit(model := CtrlC(1, at), loader(batch_size=2))
    assert isinstance(ended.value.__cause__, KeyboardInterrupt) and ended.value.code == 1
    assert trainer.interrupted and trainer.global_step == len(model.losses) == at + 1
    assert trainer.current_epoch == epochs

    undisturbed = quiet_trainer(max_epochs=3)
    undisturbed.fit(expected := CtrlC(0), loader(batch_size=2))
    goes_on = quiet_trainer(max_epochs=3)
    goes_on.fit(found := CtrlC(0), loader(batch_size=2), ckpt_path=tmp_path / "interrupted.ckpt")
    assert model.losses + found.losses == expected.losses
    assert goes_on.global_step == undisturbed.global_step == 18
    trainer.fit(CtrlC(0), loader(batch_size=2))  # and it is usable
    assert trainer.state.finished


def test_ctrl_c_pressed_again_ends_a_run_at_once() -> None:
    trainer = quiet_trainer()
    with pytest.raises(SystemExit):
        trainer.fit(model := CtrlC(2), loader(batch_size=2))
    assert trainer.interrupted and trainer.global_step == 2 and len(model.losses) == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_outside_of_a_training_batch_ends_a_run_at_once() -> None:
    class InValidation(Net):
        validated = 0

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            self.validated += 1

    trainer = quiet_trainer(num_sanity_val_steps=0)
    with pytest.raises(SystemExit):
        trainer.fit(model := InValidation(), loader(), loader())
    assert trainer.interrupted and model.validated == 0


def test_a_handler_of_the_program_for_ctrl_c_stays() -> None:
    pressed = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        quiet_trainer().fit(CtrlC(1), loader(batch_size=2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT]
