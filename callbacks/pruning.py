"""ModelPruning: set weights to zero while training goes on."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import engine
from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException
from engine import nn
from engine.nn.utils import prune

if TYPE_CHECKING:
    from lit import LightningModule, Trainer

    Targets = Sequence[tuple[nn.Module, str]]

# name: (class for pruning globally, function for pruning one parameter)
METHODS: dict[str, tuple[type[prune.BasePruningMethod], Callable[..., Any]]] = {
    "ln_structured": (prune.LnStructured, prune.ln_structured),
    "l1_unstructured": (prune.L1Unstructured, prune.l1_unstructured),
    "random_structured": (prune.RandomStructured, prune.random_structured),
    "random_unstructured": (prune.RandomUnstructured, prune.random_unstructured),
}
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class ModelPruning(Callback):
    """Prune parameters with ``engine.nn.utils.prune`` at the end of every epoch.

    Checkpoints hold the pruned weights under their plain names; the masks, and what is behind them, are in the state of
    this callback, so that a run that goes on from there is the same run.

    Args:
        pruning_fn: "l1_unstructured", "random_unstructured", "ln_structured", "random_structured", or a subclass of
            ``BasePruningMethod``.
        parameters_to_prune: pairs (module, name); by default all of these names in the model.
        parameter_names: "weight", "bias" or both.
        use_global_unstructured: choose the smallest (or random) entries of all parameters together.
        amount: how much to prune of what is left: a share (float), a number (int), or a function of the epoch.
        apply_pruning: whether to prune in an epoch: a bool, or a function of the epoch.
        make_pruning_permanent: whether the module has ordinary parameters again when training ends.
        use_lottery_ticket_hypothesis: whether what is left goes back to its values from before training, after each
            pruning (Frankle and Carbin, 2019): a bool, or a function of the epoch.
        resample_parameters: with that, draw new initial values (``reset_parameters``) instead.
        pruning_dim: the dimension for structured pruning; pruning_norm: the norm for "ln_structured".
        verbose: 0 silent, 1 prints the overall sparsity, 2 that of each parameter too.
        prune_on_train_epoch_end: False prunes at the end of validation epochs.

    Raises:
        MisconfigurationException: the arguments do not fit together, or parameters are not in the model.

    Example:
        >>> from callbacks import ModelPruning
        >>> layer = nn.Linear(4, 2)
        >>> pruning = ModelPruning("l1_unstructured", parameters_to_prune=[(layer, "weight")], amount=0.5)
        >>> pruning.apply_pruning(0.5)
        >>> int((layer.weight == 0).sum())
        4
    """

    PARAMETER_NAMES = ("weight", "bias")

    def __init__(
        self,
        pruning_fn: Callable[..., Any] | str,
        parameters_to_prune: Targets = (),
        parameter_names: list[str] | None = None,
        use_global_unstructured: bool = True,
        amount: int | float | Callable[[int], int | float] = 0.5,
        apply_pruning: bool | Callable[[int], bool] = True,
        make_pruning_permanent: bool = True,
        use_lottery_ticket_hypothesis: bool | Callable[[int], bool] = True,
        resample_parameters: bool = False,
        pruning_dim: int | None = None,
        pruning_norm: int | None = None,
        verbose: int = 0,
        prune_on_train_epoch_end: bool = True,
    ) -> None:
        self._parameter_names = parameter_names or list(self.PARAMETER_NAMES)
        unknown = set(self._parameter_names) - set(self.PARAMETER_NAMES)
        if unknown:
            raise MisconfigurationException(f"ModelPruning(parameter_names={parameter_names}): expected weight, bias or both.")
        if not (isinstance(amount, (int, float)) or callable(amount)):
            raise MisconfigurationException(f"ModelPruning(amount={amount!r}): expected an int, a float or a function.")
        if verbose not in (0, 1, 2):
            raise MisconfigurationException(f"ModelPruning(verbose={verbose!r}): expected 0, 1 or 2.")
        self._use_global_unstructured = use_global_unstructured
        self._options: dict[str, Any] = {}  # of the method, beside the amount
        self.pruning_fn = self._method(pruning_fn, pruning_dim, pruning_norm)
        self.amount, self._apply_pruning = amount, apply_pruning
        self._parameters_to_prune: Targets = parameters_to_prune
        self._make_pruning_permanent = make_pruning_permanent
        self._use_lottery_ticket_hypothesis = use_lottery_ticket_hypothesis
        self._resample_parameters = resample_parameters
        self._verbose = verbose
        self._prune_on_train_epoch_end = prune_on_train_epoch_end
        self._initial: list[nn.Module] | None = None  # copies of the modules as they were, one per target
        self._saved: dict[str, Any] | None = None

    def _method(self, given: Any, dim: int | None, norm: int | None) -> Any:
        """The pruning method: a class where entries are chosen globally, else a function for one parameter."""
        known = f"expected one of {', '.join(map(repr, METHODS))}, or a subclass of BasePruningMethod (not an instance)"
        if isinstance(given, str):
            if given.lower() not in METHODS:
                raise MisconfigurationException(f"ModelPruning(pruning_fn={given!r}): {known}.")
            method, function = METHODS[given.lower()]
            self._options = self._structured_options(given.lower(), dim, norm)
            if not self._use_global_unstructured:
                return partial(function, **self._options)
        elif inspect.isclass(given) and issubclass(given, prune.BasePruningMethod):
            if not self._use_global_unstructured:
                raise MisconfigurationException(
                    f"ModelPruning(pruning_fn={given.__name__}): a class needs `use_global_unstructured=True`."
                )
            method = given
        else:
            raise MisconfigurationException(f"ModelPruning(pruning_fn={given!r}): {known}.")
        if method.PRUNING_TYPE != "unstructured":
            raise MisconfigurationException(
                f"ModelPruning(pruning_fn={given!r}): only 'unstructured' methods can choose globally, and this one is"
                f" {method.PRUNING_TYPE!r}. HINT: use_global_unstructured=False."
            )
        return method

    @staticmethod
    def _structured_options(name: str, dim: int | None, norm: int | None) -> dict[str, Any]:
        if not name.endswith("_structured"):
            return {}
        if dim is None:
            raise MisconfigurationException(f"ModelPruning({name!r}): structured pruning needs `pruning_dim`.")
        if name != "ln_structured":
            return {"dim": dim}
        if norm is None:
            raise MisconfigurationException(f"ModelPruning({name!r}) needs `pruning_norm`.")
        return {"n": norm, "dim": dim}

    def filter_parameters_to_prune(self, parameters_to_prune: Targets = ()) -> Targets:
        """Override it to leave out some of the pairs."""
        return parameters_to_prune

    # ------------------------------------------------------------------ hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the parameters, and keep what they are before training."""
        if stage != "fit":
            return
        found = self.sanitize_parameters_to_prune(pl_module, self._parameters_to_prune, self._parameter_names)
        self._parameters_to_prune = self.filter_parameters_to_prune(found)
        if self._use_lottery_ticket_hypothesis:
            self._initial = [copy.deepcopy(module) for module, _ in self._parameters_to_prune]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of a run that goes on: prune as it was. The optimizers have the parameters in their old order by now."""
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        with engine.no_grad():
            for (module, name), mask, hidden in zip(
                self._parameters_to_prune, saved["masks"], saved["hidden"], strict=True
            ):
                if mask is None:
                    continue
                mask = mask.to(getattr(module, name).device)
                prune.custom_from_mask(module, name, mask)
                getattr(module, f"{name}_orig")[mask == 0] = hidden.to(mask.device)
            for copied, (_, name), value in zip(
                self._initial or [], self._parameters_to_prune, saved["initial"], strict=False
            ):
                getattr(copied, name).copy_(value)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prune, if it is to be done here."""
        if self._prune_on_train_epoch_end:
            self._run_pruning(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prune, if it is to be done here."""
        if not self._prune_on_train_epoch_end and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._run_pruning(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the pruned values ordinary parameters, unless they are to stay masked."""
        if self._make_pruning_permanent:
            self.make_pruning_permanent(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Weights under their plain names: any module loads them."""
        weights = checkpoint["state_dict"]
        for name in [name.removesuffix("_mask") for name in weights if name.endswith("_mask")]:
            if f"{name}_orig" in weights:
                original, mask = weights.pop(f"{name}_orig"), weights.pop(f"{name}_mask")
                weights[name] = mask.to(original.dtype) * original

    def state_dict(self) -> dict[str, Any]:
        """The masks, the values behind them, and the values before training."""
        masks = [getattr(module, f"{name}_mask", None) for module, name in self._parameters_to_prune]
        return {
            "masks": masks,
            "hidden": [
                None if mask is None else getattr(module, f"{name}_orig").detach()[mask == 0]
                for (module, name), mask in zip(self._parameters_to_prune, masks, strict=True)
            ],
            "initial": [
                getattr(copied, name).detach()
                for copied, (_, name) in zip(self._initial or [], self._parameters_to_prune, strict=False)
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until the optimizers are there."""
        self._saved = state_dict

    # ------------------------------------------------------------------ pruning

    def _run_pruning(self, trainer: Trainer) -> None:
        epoch = trainer.current_epoch
        amount = self.amount(epoch) if callable(self.amount) else self.amount
        if not _answer(self._apply_pruning, epoch) or not amount:
            return
        before = self._zeros()
        self.apply_pruning(amount)
        if self._verbose:
            trainer.print(self._describe(before, amount))
        if _answer(self._use_lottery_ticket_hypothesis, epoch):
            self.apply_lottery_ticket_hypothesis()

    def apply_pruning(self, amount: int | float) -> None:
        """Prune ``amount`` of what is left."""
        if self._use_global_unstructured:
            options = {**self._options, "amount": amount}
            known = inspect.signature(self.pruning_fn).parameters
            options = {name: value for name, value in options.items() if name in known}
            prune.global_unstructured(self._parameters_to_prune, pruning_method=self.pruning_fn, **options)
            return
        for module, name in self._parameters_to_prune:
            self.pruning_fn(module, name=name, amount=amount)

    def apply_lottery_ticket_hypothesis(self) -> None:
        """Set the parameters back to their values from before training; the masks stay."""
        assert self._initial is not None
        fresh: dict[int, nn.Module] = {}  # one draw per module, as it may have several parameters
        with engine.no_grad():
            for (module, name), copied in zip(self._parameters_to_prune, self._initial, strict=True):
                if self._resample_parameters and hasattr(copied, "reset_parameters"):
                    if id(module) not in fresh:
                        fresh[id(module)] = copy.deepcopy(copied)
                        fresh[id(module)].reset_parameters()
                    copied = fresh[id(module)]
                target = getattr(module, f"{name}_orig", getattr(module, name))
                target.copy_(getattr(copied, name))

    def make_pruning_permanent(self, module: nn.Module) -> None:
        """Take the masks away from all parameters of ``module``; what they hid stays zero."""
        for inner in module.modules():
            for name in [name.removesuffix("_mask") for name in dict(inner.named_buffers(recurse=False))]:
                if hasattr(inner, f"{name}_orig") and hasattr(inner, f"{name}_mask"):
                    prune.remove(inner, name)

    def _zeros(self) -> list[tuple[int, int]]:
        """(zeros, entries) of each mask."""
        masks = [getattr(module, f"{name}_mask", None) for module, name in self._parameters_to_prune]
        return [(0, 1) if mask is None else (int((mask == 0).sum()), mask.numel()) for mask in masks]

    def _describe(self, before: list[tuple[int, int]], amount: int | float) -> str:
        def share(zeros: int, entries: int) -> str:
            return f"{zeros}/{entries} ({zeros / entries:.2%})"

        now = self._zeros()
        method = getattr(self.pruning_fn, "__name__", None) or self.pruning_fn.func.__name__
        entries = sum(count for _, count in now)
        totals = [sum(zeros for zeros, _ in counts) for counts in (before, now)]
        lines = [f"{method}: pruned {share(totals[0], entries)} -> {share(totals[1], entries)}"]
        if self._verbose == 2:
            lines += [
                f"{method}: {type(module).__name__}.{name} with amount={amount}: {old[0]} -> {share(*new)}"
                for (module, name), old, new in zip(self._parameters_to_prune, before, now, strict=True)
            ]
        return "\n".join(lines)

    @staticmethod
    def sanitize_parameters_to_prune(
        pl_module: LightningModule, parameters_to_prune: Targets = (), parameter_names: Sequence[str] = ()
    ) -> Targets:
        """The given pairs, checked; or all parameters of these names in the model.

        Raises:
            MisconfigurationException: some are not in the model, or they are no pairs.
        """
        modules = [module for module in pl_module.modules() if module is not pl_module and not isinstance(module, CONTAINERS)]
        if not parameters_to_prune:
            names = parameter_names or ModelPruning.PARAMETER_NAMES
            return [
                (module, name) for name in names for module in modules
                if isinstance(getattr(module, name, None), nn.Parameter)
            ]  # fmt: skip
        pairs = [pair for pair in parameters_to_prune if len(pair) == 2]
        are_pairs = all(isinstance(module, nn.Module) and isinstance(name, str) for module, name in pairs)
        if not are_pairs or len(pairs) != len(parameters_to_prune):
            raise MisconfigurationException(
                f"ModelPruning(parameters_to_prune={parameters_to_prune!r}): expected pairs (module, name)."
            )
        missing = [
            (type(module).__name__, name) for module, name in parameters_to_prune
            if not any(module is other for other in modules) or not hasattr(module, name)
        ]  # fmt: skip
        if missing:
            raise MisconfigurationException(f"ModelPruning(parameters_to_prune=...): not in the model: {missing}.")
        return parameters_to_prune


def _answer(setting: bool | Callable[[int], bool], epoch: int) -> bool:
    return setting(epoch) if callable(setting) else setting
