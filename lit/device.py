"""Where a run computes: the device, and how the module and its batches get there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import engine
from callbacks import MisconfigurationException
from engine.cuda.copying import BatchCopies
from engine.errors import not_supported
from lit.datamodule import LightningDataModule
from lit.hooks import is_overridden
from lit.module import LightningModule
from lit.plugins.io import CheckpointIO, FileCheckpointIO, choose_checkpoint_io
from lit.transfer import floats_to, move_data_to_device

if TYPE_CHECKING:
    from lit.trainer import Trainer

ELSEWHERE = ("mps", "tpu", "xla", "hpu", "ipu")
OTHER_STRATEGIES = ("ddp", "fsdp", "deepspeed", "xla", "modelparallel", "dp", "horovod")


@dataclass(frozen=True)
class SingleDeviceStrategy:
    """One process on one device. The collective operations do what they do among one."""

    root_device: engine.device

    is_global_zero: bool = True
    world_size: int = 1
    checkpoint_io: CheckpointIO = field(default_factory=FileCheckpointIO)

    def barrier(self, name: str | None = None) -> None:
        """There is nobody to wait for."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        return obj

    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        return tensor


def choose_strategy(
    accelerator: Any, devices: Any, strategy: Any, num_nodes: int, plugins: Any = None
) -> SingleDeviceStrategy:
    """The device that the flags ask for, and how checkpoints are written.

    Raises:
        MisconfigurationException: a GPU is asked for and there is none.
        NotImplementedError: several devices, or an accelerator or strategy we do not have.
        ValueError: a value that means nothing.
    """
    if isinstance(strategy, SingleDeviceStrategy):
        return strategy if plugins is None else replace(strategy, checkpoint_io=choose_checkpoint_io(plugins))
    if strategy not in ("auto", "single", "single_device"):
        if str(strategy).startswith(OTHER_STRATEGIES):
            raise not_supported(f"Trainer(strategy={strategy!r})", "Trainer(strategy='auto') trains on one device.")
        raise ValueError(f"Trainer(strategy={strategy!r}): expected 'auto' or 'single_device'.")
    if num_nodes != 1:
        raise not_supported(f"Trainer(num_nodes={num_nodes})", "use Trainer(num_nodes=1).")
    kind = _device_kind(accelerator)
    index = _device_index(kind, devices)
    device = engine.device("cuda", index) if kind == "cuda" else engine.device("cpu")
    return SingleDeviceStrategy(device, checkpoint_io=choose_checkpoint_io(plugins))


def _device_kind(accelerator: Any) -> str:
    if accelerator in ELSEWHERE:
        raise not_supported(f"Trainer(accelerator={accelerator!r})", "use accelerator 'cpu', 'gpu' or 'auto'.")
    if accelerator == "auto":
        return "cuda" if engine.cuda.is_available() else "cpu"
    if accelerator == "cpu":
        return "cpu"
    if accelerator in ("gpu", "cuda"):
        if not engine.cuda.is_available():
            raise MisconfigurationException(
                f"Trainer(accelerator={accelerator!r}): no usable GPU was found. HINT: Trainer(accelerator='cpu'), or"
                " on a machine with an NVIDIA GPU: pip install 'litengine[cuda12]' (or [cuda13])."
            )
        return "cuda"
    raise ValueError(f"Trainer(accelerator={accelerator!r}): expected 'cpu', 'gpu', 'cuda' or 'auto'.")


def _device_index(kind: str, devices: Any) -> int:
    """0 for "auto" and 1, k for ``[k]``; everything that means several devices is refused."""
    error = ValueError(f"Trainer(devices={devices!r}): expected 1, 'auto' or a list with one index.")
    if devices == "auto":
        return 0
    if isinstance(devices, str):
        parts = [part for part in devices.split(",") if part.strip()]
        if not all(part.strip().lstrip("-").isdigit() for part in parts) or not parts:
            raise error
        devices = [int(part) for part in parts] if "," in devices else int(devices)
    if isinstance(devices, bool) or not isinstance(devices, (int, list, tuple)):
        raise error
    if isinstance(devices, int):
        count = (engine.cuda.device_count() if kind == "cuda" else 1) if devices == -1 else devices
        indices = list(range(count))
    else:
        indices = list(devices)
    if not indices:
        raise MisconfigurationException(f"Trainer(devices={devices!r}) asks for no device. HINT: Trainer(devices=1).")
    if len(indices) > 1:
        raise not_supported(f"Trainer(devices={devices!r})", "Trainer(devices=1) trains on one device.")
    if kind == "cuda" and not 0 <= indices[0] < engine.cuda.device_count():
        raise MisconfigurationException(
            f"Trainer(devices={devices!r}): there is no GPU {indices[0]}, the machine has {engine.cuda.device_count()}."
        )
    return indices[0]


def place_module(trainer: Trainer) -> None:
    """Move the module to the run's device and dtype."""
    module = trainer.lightning_module
    module.to(trainer.strategy.root_device)
    if trainer.precision_plugin.dtype is not None:
        module.to(trainer.precision_plugin.dtype)


class _CopiedAhead:
    """Brings batches to a GPU; those in page-locked memory are copied while the GPU is busy with the batch before."""

    def __init__(self, device: engine.device) -> None:
        self._device, self._copies = device, BatchCopies(device)

    def __call__(self, batch: Any, dataloader_idx: int) -> Any:
        self._copies.begin()
        return move_data_to_device(batch, self._device, self._copies.put)


def batch_transfer(trainer: Trainer) -> Callable[[Any, int], Any] | None:
    """How a batch gets to the device: ``function(batch, dataloader_idx)``, or None where nothing is to be done."""
    device = trainer.strategy.root_device
    dtype = trainer.precision_plugin.dtype
    names = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
    owners = [_hook_owner(trainer, name) for name in names]
    if not any(is_own for _, is_own in owners):
        if device.type == "cpu":
            return None if dtype is None else lambda batch, dataloader_idx: floats_to(batch, dtype)
        if dtype is None:
            return _CopiedAhead(device)
    (before, _), (transfer, _), (after, _) = owners
    call_on = trainer.hooks.call_on

    def full_transfer(batch: Any, dataloader_idx: int) -> Any:
        if dtype is not None:
            batch = floats_to(batch, dtype)
        batch = call_on(before, "on_before_batch_transfer", batch, dataloader_idx)
        batch = call_on(transfer, "transfer_batch_to_device", batch, device, dataloader_idx)
        return call_on(after, "on_after_batch_transfer", batch, dataloader_idx)

    return full_transfer


def _hook_owner(trainer: Trainer, name: str) -> tuple[Any, bool]:
    """The datamodule if it overrides the hook, else the module; and whether the hook is overridden at all."""
    datamodule, module = trainer.datamodule, trainer.lightning_module
    if datamodule is not None and is_overridden(name, datamodule, LightningDataModule):
        return datamodule, True
    return module, is_overridden(name, module, LightningModule)
