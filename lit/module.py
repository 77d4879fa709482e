"""LightningModule: a model, its loss, its optimizer and what it logs, in one class."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import engine
from callbacks import MisconfigurationException
from engine import nn
from engine.errors import not_supported
from lit.data_hooks import DataHooks
from lit.hparams import HyperparametersMixin
from lit.metric_state import is_collection
from lit.model_hooks import ModelHooks

if TYPE_CHECKING:
    from engine.optim import Optimizer
    from lit.optimizers import LightningOptimizer
    from lit.trainer import Trainer


class LightningModule(DataHooks, ModelHooks, HyperparametersMixin, nn.Module):
    """An ``nn.Module`` that says how it is trained.

    Write ``training_step`` and ``configure_optimizers``, and the other steps and hooks you need; ``Trainer`` runs them.

    Example:
        >>> class Regression(pl.LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(1, 1)
        ...     def training_step(self, batch, batch_idx):
        ...         x, y = batch
        ...         loss = nn.functional.mse_loss(self.layer(x), y)
        ...         self.log("train_loss", loss)
        ...         return loss
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> Regression().automatic_optimization
        True
    """

    automatic_optimization: bool
    strict_loading: bool
    example_input_array: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._trainer: Trainer | None = None
        self.automatic_optimization = True
        self.strict_loading = True
        self.example_input_array = None
        self._toggled: dict[Any, bool] = {}

    # ------------------------------------------------------------------ where the module is

    @property
    def trainer(self) -> Trainer:
        """The Trainer that runs this module.

        Raises:
            RuntimeError: no Trainer runs it.
        """
        if self._trainer is None:
            raise RuntimeError(f"{type(self).__qualname__} is not attached to a `Trainer`.")
        return self._trainer

    @trainer.setter
    def trainer(self, trainer: Trainer | None) -> None:
        for module in self.modules():
            if isinstance(module, LightningModule):
                module._trainer = trainer

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_trainer"] = None  # a copy of the module is not attached to anything
        return state

    @property
    def device(self) -> engine.device:
        """The device of the first parameter or buffer; the Trainer's (or the CPU) if there is none."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return engine.device("cpu") if self._trainer is None else self._trainer.strategy.root_device

    @property
    def dtype(self) -> Any:
        """The dtype of the first floating-point parameter or buffer; the default dtype if there is none."""
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype
        return engine.get_default_dtype()

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def current_epoch(self) -> int:
        """The Trainer's epoch, 0 without a Trainer."""
        return 0 if self._trainer is None else self._trainer.current_epoch

    @property
    def global_step(self) -> int:
        """The Trainer's number of optimizer steps, 0 without a Trainer."""
        return 0 if self._trainer is None else self._trainer.global_step

    @property
    def global_rank(self) -> int:
        return 0

    @property
    def local_rank(self) -> int:
        return 0

    @property
    def logger(self) -> Any:
        """The Trainer's first logger, or None."""
        return None if self._trainer is None else self._trainer.logger

    @property
    def loggers(self) -> list[Any]:
        """All loggers of the Trainer."""
        return [] if self._trainer is None else self._trainer.loggers

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print without tearing the progress bar apart."""
        if self._trainer is None:
            print(*args, **kwargs)
        else:
            self._trainer.print(*args, **kwargs)

    # ------------------------------------------------------------------ logging

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: str | Callable[[Any], Any] = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Log one number.

        Args:
            name: the key; with both ``on_step`` and ``on_epoch`` the keys are ``<name>_step`` and ``<name>_epoch``.
            value: a number, a Tensor with one element, or a ``lit.metrics.Metric`` of this module: its latest value is
                logged per step, its ``compute()`` per epoch, and it is reset at the end of the epoch.
            prog_bar: show it in the progress bar.
            logger: send it to the loggers (True if not given).
            on_step: log the value of this batch. The default depends on the hook (training: True, evaluation: False).
            on_epoch: log the reduction over the epoch. The default depends on the hook (the opposite of ``on_step``).
            reduce_fx: "mean", "sum", "min" or "max": how an epoch is reduced; the mean is weighted by ``batch_size``.
            enable_graph: not supported; values are always detached.
            sync_dist, sync_dist_group, rank_zero_only: for several processes; accepted and without effect on one.
            add_dataloader_idx: append ``/dataloader_idx_<i>`` when there are several evaluation loaders.
            batch_size: the weight of this value in the epoch's mean; by default the first size found in the batch.
            metric_attribute: accepted; where in the module a metric is, is found without it.

        Raises:
            MisconfigurationException: nothing can be logged in this hook, the arguments changed within an epoch, or a
                metric is not part of this module.
            ValueError: the value is not a single number, or ``batch_size`` is not positive.
        """
        trainer = self._trainer
        if trainer is None:
            warnings.warn(
                f"[W104] self.log({name!r}, ...) was ignored: the module is not attached to a `Trainer`."
                " HINT: log in the steps and hooks that a Trainer calls.",
                stacklevel=2,
            )
            return
        if enable_graph:
            raise NotImplementedError(
                "self.log(enable_graph=True) is not supported."
                " HINT: keep tensors with a graph in an attribute; log numbers."
            )
        if trainer.barebones:
            return
        store = trainer.reporting.active
        if store is None:
            raise MisconfigurationException(
                f"self.log({name!r}, ...) was called in `{trainer.hooks.current}`, where nothing can be logged."
                " HINT: log in the steps and hooks of fit, validate and test; predict has no logging."
            )
        if isinstance(value, nn.Module):
            self._check_metric(name, value)
        arguments = (prog_bar, logger, on_step, on_epoch, reduce_fx, add_dataloader_idx)
        store.log(trainer.hooks.current, name, value, arguments, batch_size)

    def _check_metric(self, name: str, metric: nn.Module) -> None:
        """A logged module must be a metric among the submodules: checkpoints hold what it has gathered."""
        if is_collection(metric):
            raise MisconfigurationException(
                f"self.log({name!r}, MetricCollection) has one name for several values. HINT: self.log_dict(collection)."
            )
        if all(metric is not submodule for submodule in self.modules()):
            raise MisconfigurationException(
                f"self.log({name!r}, {type(metric).__name__}(...)): the metric is not an attribute of"
                f" {type(self).__name__}, so it cannot be reset, moved and saved with it."
                " HINT: make it in __init__, as self.metric = ..., or in an nn.ModuleDict."
            )

    def log_dict(
        self,
        dictionary: Mapping[str, Any],
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: str | Callable[[Any], Any] = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Log every item of ``dictionary``, or of a ``MetricCollection``; the arguments are those of ``log``."""
        if not isinstance(dictionary, Mapping) and not is_collection(dictionary):
            raise TypeError(
                f"self.log_dict(dictionary): expected a dict of names and numbers, got {type(dictionary).__name__}."
            )
        for name, value in dictionary.items():
            self.log(
                name,
                value,
                prog_bar=prog_bar,
                logger=logger,
                on_step=on_step,
                on_epoch=on_epoch,
                reduce_fx=reduce_fx,
                enable_graph=enable_graph,
                sync_dist=sync_dist,
                sync_dist_group=sync_dist_group,
                add_dataloader_idx=add_dataloader_idx,
                batch_size=batch_size,
                rank_zero_only=rank_zero_only,
            )

    # ------------------------------------------------------------------ manual optimization

    def optimizers(self, use_pl_optimizer: bool = True) -> Any:
        """The optimizer, or a list when there are several; with ``use_pl_optimizer`` their steps count as the
        Trainer's steps and run its hooks."""
        found = self.trainer.lightning_optimizers if use_pl_optimizer else self.trainer.optimizers
        return found[0] if len(found) == 1 else list(found)

    def lr_schedulers(self) -> Any:
        """The learning-rate scheduler, a list when there are several, None when there is none."""
        found = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        if not found:
            return None
        return found[0] if len(found) == 1 else found

    def manual_backward(self, loss: engine.Tensor, *args: Any, **kwargs: Any) -> None:
        """``loss.backward(*args, **kwargs)`` with the hooks around it, for manual optimization.

        Raises:
            MisconfigurationException: the module uses automatic optimization.
        """
        self._require_manual("manual_backward")
        self.trainer.fit_loop.backward(loss, *args, **kwargs)

    def _require_manual(self, call: str) -> None:
        if self.automatic_optimization:
            raise MisconfigurationException(
                f"`self.{call}(...)` needs manual optimization, but `automatic_optimization` is True."
                " HINT: set `self.automatic_optimization = False` in `__init__`."
            )

    def toggle_optimizer(self, optimizer: Optimizer | LightningOptimizer) -> None:
        """Let only the parameters of ``optimizer`` require a gradient, until ``untoggle_optimizer``."""
        own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for other in self.trainer.optimizers:
            for group in other.param_groups:
                for parameter in group["params"]:
                    self._toggled.setdefault(parameter, parameter.requires_grad)
                    if id(parameter) not in own:
                        parameter.requires_grad = False
                    else:
                        parameter.requires_grad = self._toggled[parameter]

    def untoggle_optimizer(self, optimizer: Optimizer | LightningOptimizer) -> None:
        """Undo ``toggle_optimizer``."""
        for parameter, required in self._toggled.items():
            parameter.requires_grad = required
        self._toggled = {}

    @contextmanager
    def toggled_optimizer(self, optimizer: Optimizer | LightningOptimizer) -> Iterator[None]:
        """``toggle_optimizer`` inside the block, ``untoggle_optimizer`` after it."""
        self.toggle_optimizer(optimizer)
        try:
            yield
        finally:
            self.untoggle_optimizer(optimizer)

    def clip_gradients(
        self,
        optimizer: Optimizer | LightningOptimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients of ``optimizer``'s parameters by norm (default) or by value.

        Arguments that are not given are taken from the Trainer's flags of the same names.

        Raises:
            MisconfigurationException: a value differs from the Trainer's flag, or the algorithm is unknown.
        """
        trainer = self.trainer
        value = _one_of("gradient_clip_val", gradient_clip_val, trainer.gradient_clip_val)
        algorithm = _one_of("gradient_clip_algorithm", gradient_clip_algorithm, trainer.gradient_clip_algorithm)
        if value is None:
            return
        algorithm = str(algorithm or "norm").lower()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if algorithm == "norm":
            nn.utils.clip_grad_norm_(parameters, value)
        elif algorithm == "value":
            nn.utils.clip_grad_value_(parameters, value)
        else:
            raise MisconfigurationException(
                f"clip_gradients(gradient_clip_algorithm={algorithm!r}): expected 'norm' or 'value'."
            )

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """``data`` itself: there is one process."""
        return data

    def to_onnx(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported."""
        raise not_supported("LightningModule.to_onnx()", "save the weights, load them in PyTorch, export there.")

    def to_torchscript(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported."""
        raise not_supported("LightningModule.to_torchscript()", "save the weights, and the module's class with them.")

    def to_tensorrt(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported."""
        raise not_supported("LightningModule.to_tensorrt()", "save the weights, load them in PyTorch, export there.")

    @property
    def device_mesh(self) -> None:
        """There is one device."""
        return None

    @property
    def fabric(self) -> None:
        """There is no Fabric."""
        return None

    # ------------------------------------------------------------------ freezing, saving, loading

    def freeze(self) -> LightningModule:
        """No parameter requires a gradient any more, and the module is in eval mode."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        self.eval()
        return self

    def unfreeze(self) -> LightningModule:
        """Every parameter requires a gradient, and the module is in train mode."""
        for parameter in self.parameters():
            parameter.requires_grad = True
        self.train()
        return self

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> LightningModule:
        """Rebuild a module from its hyper-parameters and weights in a checkpoint.

        Args:
            checkpoint_path: the file written by the Trainer.
            map_location: where to put the tensors, for example "cpu".
            hparams_file: a YAML or CSV file with hyper-parameters that replace those of the checkpoint.
            strict: whether the weights must match the module exactly (True if not given).
            weights_only: accepted as in Lightning; a checkpoint never executes anything here.
            **kwargs: arguments of ``__init__`` that replace saved ones, or that the checkpoint does not hold.

        Raises:
            engine.serialization.CheckpointError: the file is truncated, foreign or too new.
            TypeError: ``__init__`` needs an argument that the checkpoint does not hold.
        """
        from lit.checkpoint import rebuild_module

        return rebuild_module(cls, checkpoint_path, map_location, hparams_file, strict, kwargs)


def _one_of(name: str, given: Any, flag: Any) -> Any:
    if given is not None and flag is not None and given != flag:
        raise MisconfigurationException(
            f"clip_gradients({name}={given!r}) differs from Trainer({name}={flag!r}). HINT: set only one of them."
        )
    return flag if given is None else given
