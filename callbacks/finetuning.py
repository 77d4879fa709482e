"""BaseFinetuning and BackboneFinetuning: train some layers first, the others later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException
from engine import nn

if TYPE_CHECKING:
    from engine.nn import Module, Parameter
    from engine.optim import Optimizer
    from lit import LightningModule, Trainer

    Modules = Module | Iterable[Any]  # a module, or modules nested in lists


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def multiplicative(epoch: int) -> float:
    """Factor of the backbone's learning rate per epoch: 2.

    Example:
        >>> from callbacks.finetuning import multiplicative
        >>> multiplicative(3)
        2.0
    """
    return 2.0


class BaseFinetuning(Callback):
    """Subclass it: freeze layers in ``freeze_before_training``, unfreeze them epoch by epoch in ``finetune_function``.

    The optimizer must be built from the parameters that require a gradient
    (``filter(lambda p: p.requires_grad, self.parameters())``); the others join it as groups of their own when they are
    unfrozen. A checkpoint keeps which parameters were trained and in which groups, and a resumed run starts with these.

    Example:
        >>> from callbacks import BaseFinetuning
        >>> layers = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        >>> BaseFinetuning.freeze(layers)
        >>> [p.requires_grad for p in layers.parameters()]
        [False, False, True, True]
        >>> optimizer = torch.optim.SGD(layers[1].parameters(), lr=0.1)
        >>> BaseFinetuning.unfreeze_and_add_param_group(layers[0], optimizer, lr=0.01)
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.01]
    """

    def __init__(self) -> None:
        super().__init__()
        self._groups: dict[str, list[dict[str, Any]]] = {}  # by number of the optimizer: what was added to it
        self._trainable: list[str] = []
        self._restarting = False

    # ------------------------------------------------------------------ what subclasses write

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        """Freeze layers; runs before ``configure_optimizers``.

        Raises:
            NotImplementedError: the subclass does not override it.
        """
        raise NotImplementedError(f"{type(self).__name__}: override `freeze_before_training`.")

    def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: Optimizer) -> None:
        """Called at the start of every epoch, for each optimizer: unfreeze layers and add them to ``optimizer``.

        Raises:
            NotImplementedError: the subclass does not override it.
        """
        raise NotImplementedError(f"{type(self).__name__}: override `finetune_function`.")

    # ------------------------------------------------------------------ tools for them

    @staticmethod
    def flatten_modules(modules: Modules) -> list[Module]:
        """All modules below ``modules`` that have parameters of their own, or no submodules."""
        if not isinstance(modules, nn.Module):
            return [module for inner in iter(modules) for module in BaseFinetuning.flatten_modules(inner)]
        found = list(modules.modules())
        return [m for m in found if not list(m.children()) or list(m.parameters(recurse=False))]

    @staticmethod
    def filter_params(modules: Modules, train_bn: bool = True, requires_grad: bool = True) -> Iterator[Parameter]:
        """Parameters whose ``requires_grad`` is as asked for; ``train_bn`` False leaves batch norm's out."""
        for module in BaseFinetuning.flatten_modules(modules):
            if isinstance(module, BATCH_NORMS) and not train_bn:
                continue
            for parameter in module.parameters(recurse=False):
                if parameter.requires_grad == requires_grad:
                    yield parameter

    @staticmethod
    def make_trainable(modules: Modules) -> None:
        """Let all parameters be trained, and batch norm keep its statistics again."""
        _set_trainable(BaseFinetuning.flatten_modules(modules), True)

    @staticmethod
    def freeze_module(module: Module) -> None:
        """Freeze one module without its submodules."""
        _set_trainable([module], False)

    @staticmethod
    def freeze(modules: Modules, train_bn: bool = True) -> None:
        """Freeze all parameters; with ``train_bn`` batch norm goes on being trained."""
        for module in BaseFinetuning.flatten_modules(modules):
            _set_trainable([module], train_bn and isinstance(module, BATCH_NORMS))

    @staticmethod
    def filter_on_optimizer(optimizer: Optimizer, params: Iterable[Parameter]) -> list[Parameter]:
        """Those of ``params`` that the optimizer does not have yet."""
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return [parameter for parameter in params if id(parameter) not in known]

    @staticmethod
    def unfreeze_and_add_param_group(
        modules: Modules,
        optimizer: Optimizer,
        lr: float | None = None,
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,
    ) -> None:
        """Unfreeze ``modules`` and add their parameters to ``optimizer`` as one group.

        Args:
            lr: learning rate of the group; None: that of the first group divided by ``initial_denom_lr``.
            initial_denom_lr: see ``lr``.
            train_bn: whether batch norm's parameters are added too.
        """
        BaseFinetuning.make_trainable(modules)
        rate = optimizer.param_groups[0]["lr"] / initial_denom_lr if lr is None else lr
        params = BaseFinetuning.filter_params(modules, train_bn=train_bn, requires_grad=True)
        new = BaseFinetuning.filter_on_optimizer(optimizer, params)
        if new:
            optimizer.add_param_group({"params": new, "lr": rate})

    # ------------------------------------------------------------------ hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Freeze before the optimizers are configured."""
        if stage == "fit":
            self.freeze_before_training(pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In a resumed run, bring parameters and optimizers to where the checkpoint was."""
        if not self._restarting:
            self._groups = {}
            return
        self._restarting = False
        named = dict(pl_module.named_parameters())
        for name, parameter in named.items():
            parameter.requires_grad_(name in self._trainable)
        for number, groups in self._groups.items():
            for group in groups:
                options = {key: value for key, value in group.items() if key != "params"}
                params = [named[name] for name in group["params"]]
                trainer.optimizers[int(number)].add_param_group({"params": params, **options})

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the subclass unfreeze, and note what it added to the optimizers."""
        for number, optimizer in enumerate(trainer.optimizers):
            before = len(optimizer.param_groups)
            self.finetune_function(pl_module, trainer.current_epoch, optimizer)
            names = {id(parameter): name for name, parameter in pl_module.named_parameters()}
            for group in optimizer.param_groups[before:]:
                added = {key: value for key, value in group.items() if _is_plain(value)}
                added["params"] = [names[id(parameter)] for parameter in group["params"]]
                self._groups.setdefault(str(number), []).append(added)
        self._trainable = [name for name, parameter in pl_module.named_parameters() if parameter.requires_grad]

    def state_dict(self) -> dict[str, Any]:
        """Groups added to optimizers, by parameter names, and the names of all parameters in training."""
        return {"added_groups": self._groups, "trainable": self._trainable}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what was unfrozen; it takes effect in ``on_fit_start``."""
        self._restarting = True
        self._groups = {number: list(groups) for number, groups in state_dict["added_groups"].items()}
        self._trainable = list(state_dict["trainable"])


class BackboneFinetuning(BaseFinetuning):
    """Train the head first; from one epoch on train ``pl_module.backbone`` too, with a learning rate that rises.

    Args:
        unfreeze_backbone_at_epoch: epoch in which the backbone joins.
        lambda_func: factor of the backbone's learning rate by epoch, applied at the start of every later epoch.
        backbone_initial_ratio_lr: the backbone's first learning rate as a share of the head's.
        backbone_initial_lr: its first learning rate itself; None takes the share.
        should_align: whether it never rises above the head's.
        initial_denom_lr: handed on to ``unfreeze_and_add_param_group``, where it is for calls without ``lr``.
        train_bn: whether batch norm is trained while the rest of the backbone is frozen.
        verbose: whether to print both learning rates at every epoch.
        rounding: digits of the printed ones.

    Raises:
        MisconfigurationException: the module has no ``backbone``; raised when ``fit`` starts.

    Example:
        >>> from callbacks import BackboneFinetuning
        >>> BackboneFinetuning(unfreeze_backbone_at_epoch=5, backbone_initial_lr=1e-4).unfreeze_backbone_at_epoch
        5
    """

    def __init__(
        self,
        unfreeze_backbone_at_epoch: int = 10,
        lambda_func: Callable[[int], float] = multiplicative,
        backbone_initial_ratio_lr: float = 10e-2,
        backbone_initial_lr: float | None = None,
        should_align: bool = True,
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,
        verbose: bool = False,
        rounding: int = 12,
    ) -> None:
        super().__init__()
        self.unfreeze_backbone_at_epoch = unfreeze_backbone_at_epoch
        self.lambda_func = lambda_func
        self.backbone_initial_ratio_lr = backbone_initial_ratio_lr
        self.backbone_initial_lr = backbone_initial_lr
        self.should_align = should_align
        self.initial_denom_lr = initial_denom_lr
        self.train_bn = train_bn
        self.verbose = verbose
        self.rounding = rounding
        self.previous_backbone_lr: float | None = None

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        """Freeze ``pl_module.backbone``."""
        if not isinstance(getattr(pl_module, "backbone", None), nn.Module):
            raise MisconfigurationException(
                f"BackboneFinetuning: {type(pl_module).__name__} has no module `backbone`."
                " HINT: name it so, or subclass BaseFinetuning."
            )
        self.freeze(pl_module.backbone, train_bn=self.train_bn)

    def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: Optimizer) -> None:
        """Let the backbone join, or raise its learning rate."""
        current = optimizer.param_groups[0]["lr"]
        if epoch == self.unfreeze_backbone_at_epoch:
            first = self.backbone_initial_lr or current * self.backbone_initial_ratio_lr
            self.previous_backbone_lr = first
            self.unfreeze_and_add_param_group(
                pl_module.backbone, optimizer, first, self.initial_denom_lr, train_bn=self.train_bn
            )
        elif epoch > self.unfreeze_backbone_at_epoch:
            assert self.previous_backbone_lr is not None
            next_lr = self.lambda_func(epoch + 1) * self.previous_backbone_lr
            self.previous_backbone_lr = min(next_lr, current) if self.should_align else next_lr
            optimizer.param_groups[-1]["lr"] = self.previous_backbone_lr
        else:
            return
        if self.verbose:
            rates = (round(rate, self.rounding) for rate in (current, optimizer.param_groups[-1]["lr"]))
            pl_module.print("Learning rates: head {}, backbone {}".format(*rates))

    def state_dict(self) -> dict[str, Any]:
        """What ``BaseFinetuning`` keeps, and the backbone's learning rate."""
        return {**super().state_dict(), "previous_backbone_lr": self.previous_backbone_lr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self.previous_backbone_lr = state_dict["previous_backbone_lr"]
        super().load_state_dict(state_dict)


def _set_trainable(modules: list[Module], trainable: bool) -> None:
    for module in modules:
        if isinstance(module, BATCH_NORMS):
            module.track_running_stats = trainable
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(trainable)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
