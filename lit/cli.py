"""LightningCLI: a Trainer, a module and its data from the command line and YAML files, by jsonargparse (extra ``cli``)."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable
from functools import partial, update_wrapper
from pathlib import Path
from types import MethodType
from typing import Any

from callbacks import Callback, MisconfigurationException
from engine.optim import Optimizer
from engine.optim import lr_scheduler as lr_schedulers
from engine.optim.lr_scheduler import LRScheduler
from lit.datamodule import LightningDataModule
from lit.hooks import is_overridden
from lit.module import LightningModule
from lit.seed import seed_everything
from lit.trainer import Trainer

try:
    from jsonargparse import ActionConfigFile, ArgumentParser, Namespace, class_from_function
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("LightningCLI needs jsonargparse. HINT: pip install 'litengine[cli]'.") from error


class ReduceLROnPlateau(lr_schedulers.ReduceLROnPlateau):
    """The scheduler of that name, which on the command line must be told what to watch: ``--lr_scheduler.monitor``.

    Args:
        monitor: name of the metric; the other arguments are the scheduler's.

    Example:
        >>> from lit.cli import ReduceLROnPlateau
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> ReduceLROnPlateau(optimizer, "val_loss", factor=0.5).monitor
        'val_loss'
    """

    def __init__(self, optimizer: Optimizer, monitor: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, *args, **kwargs)
        self.monitor = monitor


ArgsType = list[str] | dict[str, Any] | Namespace | None
OptimizerCallable = Callable[[Iterable], Optimizer]  # for arguments that take an optimizer from the command line
LRSchedulerCallable = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]
LRSchedulerTypeTuple = (LRScheduler, ReduceLROnPlateau)
LRSchedulerTypeUnion = LRScheduler | ReduceLROnPlateau
LRSchedulerType = type[LRScheduler] | type[ReduceLROnPlateau]

# What each subcommand of the Trainer gets from the CLI itself; all its other arguments are options.
SUBCOMMANDS = {
    "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"},
    "validate": {"model", "dataloaders", "datamodule"},
    "test": {"model", "dataloaders", "datamodule"},
    "predict": {"model", "dataloaders", "datamodule", "stream"},
}


class LightningArgumentParser(ArgumentParser):
    """jsonargparse's parser, with methods that add a Trainer, module, callback, optimizer or scheduler as options."""

    def __init__(
        self,
        *args: Any,
        description: str = "Lightning Trainer command line tool",
        env_prefix: str = "PL",
        default_env: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, description=description, env_prefix=env_prefix, default_env=default_env, **kwargs)
        self.callback_keys: list[str] = []
        self._optimizers: dict[str, tuple[Any, str]] = {}
        self._lr_schedulers: dict[str, tuple[Any, str]] = {}

    def add_lightning_class_args(
        self, lightning_class: Any, nested_key: str, subclass_mode: bool = False, required: bool = True
    ) -> list[str]:
        """Add the arguments of a class (or of a function that makes its object) below ``nested_key``.

        Args:
            lightning_class: a Trainer, LightningModule, LightningDataModule or Callback class, or a function.
            nested_key: where its options stand, as in ``--model.lr``.
            subclass_mode: whether ``class_path`` chooses a subclass.
            required: whether ``class_path`` must be given.

        Raises:
            MisconfigurationException: it is something else.
        """
        if callable(lightning_class) and not isinstance(lightning_class, type):
            lightning_class = class_from_function(lightning_class)
        kinds = (Trainer, LightningModule, LightningDataModule, Callback)
        if not (isinstance(lightning_class, type) and issubclass(lightning_class, kinds)):
            raise MisconfigurationException(
                f"add_lightning_class_args({lightning_class}): expected a function, or a subclass of Trainer,"
                " LightningModule, LightningDataModule or Callback."
            )
        if issubclass(lightning_class, Callback):
            self.callback_keys.append(nested_key)
        if subclass_mode:
            return self.add_subclass_arguments(lightning_class, nested_key, fail_untyped=False, required=required)
        make = not issubclass(lightning_class, Trainer)  # the CLI makes the Trainer itself
        return self.add_class_arguments(
            lightning_class, nested_key, fail_untyped=False, instantiate=make, sub_configs=True
        )

    def add_optimizer_args(
        self, optimizer_class: Any = (Optimizer,), nested_key: str = "optimizer", link_to: str = "AUTOMATIC"
    ) -> None:
        """Add an optimizer's arguments; a tuple of classes lets ``class_path`` choose.

        Args:
            link_to: "AUTOMATIC" makes ``configure_optimizers`` of it; otherwise the module's argument that gets it.
        """
        self._add_later(optimizer_class, nested_key, {"params"})
        self._optimizers[nested_key] = (optimizer_class, link_to)

    def add_lr_scheduler_args(
        self, lr_scheduler_class: Any = LRSchedulerTypeTuple, nested_key: str = "lr_scheduler", link_to: str = "AUTOMATIC"
    ) -> None:
        """Add a learning-rate scheduler's arguments, as ``add_optimizer_args``."""
        self._add_later(lr_scheduler_class, nested_key, {"optimizer"})
        self._lr_schedulers[nested_key] = (lr_scheduler_class, link_to)

    def _add_later(self, kind: Any, nested_key: str, skip: set[str]) -> None:
        """Options of an object that can be made only when the module is there."""
        options: dict[str, Any] = {"instantiate": False, "fail_untyped": False, "skip": skip}
        if isinstance(kind, tuple):
            self.add_subclass_arguments(kind, nested_key, required=False, **options)
        else:
            self.add_class_arguments(kind, nested_key, sub_configs=True, **options)


class SaveConfigCallback(Callback):
    """Writes the whole configuration, defaults included, into the run's folder before anything else happens.

    Args:
        parser, config: the parser and what it has parsed.
        config_filename: name of the file.
        overwrite: whether an existing file is replaced; otherwise it is an error.
        multifile: whether configurations that came from several files go to several files.
        save_to_log_dir: False leaves the file to ``save_config`` of a subclass.

    Raises:
        RuntimeError: there is such a file, and ``overwrite`` is False.
        ValueError: ``save_to_log_dir`` is False and ``save_config`` is not overridden.
    """

    def __init__(
        self,
        parser: LightningArgumentParser,
        config: Namespace,
        config_filename: str = "config.yaml",
        overwrite: bool = False,
        multifile: bool = False,
        save_to_log_dir: bool = True,
    ) -> None:
        self.parser, self.config, self.config_filename = parser, config, config_filename
        self.overwrite, self.multifile, self.save_to_log_dir = overwrite, multifile, save_to_log_dir
        self.already_saved = False
        if not save_to_log_dir and not is_overridden("save_config", self, SaveConfigCallback):
            raise ValueError(
                "SaveConfigCallback(save_to_log_dir=False) makes sense only in a subclass that has its own `save_config`."
            )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file, in the first run of this callback."""
        if self.already_saved:
            return
        if self.save_to_log_dir:
            folder = Path(trainer.log_dir or ".")
            path = folder / self.config_filename
            if path.is_file() and not self.overwrite:
                raise RuntimeError(
                    f"SaveConfigCallback expected {path} to NOT exist, for it belongs to another run."
                    " HINT: another version or folder, LightningCLI(save_config_kwargs={'overwrite': True}), or"
                    " LightningCLI(save_config_callback=None)."
                )
            folder.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, path, skip_unset=False, overwrite=self.overwrite, multifile=self.multifile)
        self.save_config(trainer, pl_module, stage)
        self.already_saved = True

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """For subclasses: keep the configuration elsewhere too."""


class LightningCLI:
    """Parse the command line, make the objects, and run the subcommand: ``fit``, ``validate``, ``test`` or ``predict``.

    Options stand under ``trainer``, ``model`` and ``data``; ``--config FILE`` reads them from YAML, ``--print_config``
    prints them, ``class_path`` and ``init_args`` choose classes. The configuration is saved in the run's folder.

    Args:
        model_class, datamodule_class: classes, or functions that make their objects; None: ``class_path`` chooses.
        save_config_callback: the callback that saves the configuration, or None; ``save_config_kwargs`` are its options.
        trainer_class, trainer_defaults: the Trainer, and flags that differ from its own defaults.
        seed_everything_default: the default of ``--seed_everything``: an int, True (a random seed) or False (none).
        parser_kwargs: options of the parser, or of each subcommand's parser by its name.
        parser_class: a subclass of ``LightningArgumentParser``.
        subclass_mode_model, subclass_mode_data: whether ``class_path`` may choose a subclass.
        args: what to parse instead of ``sys.argv``: a list of words, or a dict or Namespace.
        run: False makes the objects (``cli.model``, ``cli.trainer``, ...) and runs nothing; there are no subcommands.
        auto_configure_optimizers: whether ``--optimizer`` and ``--lr_scheduler`` replace ``configure_optimizers``.
        load_from_checkpoint_support: whether ``--ckpt_path`` brings the hyper-parameters of the model along.

    Example:
        >>> class Net(pl.LightningModule):
        ...     def __init__(self, width: int = 8):
        ...         super().__init__()
        ...         self.layer = nn.Linear(width, 1)
        >>> cli = pl.LightningCLI(Net, run=False, seed_everything_default=False,
        ...                       args=["--model.width=3", "--trainer.max_epochs=2", "--trainer.logger=false"])
        >>> cli.model.layer.in_features, cli.trainer.max_epochs
        (3, 2)
    """

    def __init__(
        self,
        model_class: Any = None,
        datamodule_class: Any = None,
        save_config_callback: type[SaveConfigCallback] | None = SaveConfigCallback,
        save_config_kwargs: dict[str, Any] | None = None,
        trainer_class: Any = Trainer,
        trainer_defaults: dict[str, Any] | None = None,
        seed_everything_default: bool | int = True,
        parser_kwargs: dict[str, Any] | None = None,
        parser_class: type[LightningArgumentParser] = LightningArgumentParser,
        subclass_mode_model: bool = False,
        subclass_mode_data: bool = False,
        args: ArgsType = None,
        run: bool = True,
        auto_configure_optimizers: bool = True,
        load_from_checkpoint_support: bool = True,
    ) -> None:
        self.model_class, self.datamodule_class = model_class, datamodule_class
        self.subclass_mode_model = model_class is None or subclass_mode_model
        self.subclass_mode_data = datamodule_class is None or subclass_mode_data
        self.save_config_callback, self.save_config_kwargs = save_config_callback, save_config_kwargs or {}
        self.trainer_class, self.trainer_defaults = trainer_class, trainer_defaults or {}
        self.seed_everything_default = seed_everything_default
        self.parser_class, self.parser_kwargs = parser_class, parser_kwargs or {}
        self.auto_configure_optimizers = auto_configure_optimizers
        self.setup_parser(run)
        self.parse_arguments(self.parser, args)
        self.subcommand: str | None = self.config["subcommand"] if run else None
        if load_from_checkpoint_support:
            self._take_hyper_parameters_of_checkpoint()
        self._set_seed()
        self.before_instantiate_classes()
        self.instantiate_classes()
        self.after_instantiate_classes()
        if self.subcommand is not None:
            self._run_subcommand(self.subcommand)

    # ------------------------------------------------------------------ the parser

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Methods of the Trainer that are subcommands, with the arguments that are no options."""
        return {name: set(skip) for name, skip in SUBCOMMANDS.items()}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser with ``--config``."""
        parser = self.parser_class(**kwargs)
        parser.add_argument(
            "-c", "--config", action=ActionConfigFile, help="Path to a configuration file in json or yaml format."
        )
        return parser

    def setup_parser(self, add_subcommands: bool) -> None:
        """Make ``self.parser``, with a parser for each subcommand if there are any."""
        names = self.subcommands()
        self.parser = self.init_parser(**{key: value for key, value in self.parser_kwargs.items() if key not in names})
        if not add_subcommands:
            self._add_arguments(self.parser)
            return
        trainer_class = self.trainer_class
        if not isinstance(trainer_class, type):
            trainer_class = class_from_function(trainer_class)
        self._subcommand_parsers: dict[str, LightningArgumentParser] = {}
        self._subcommand_method_arguments: dict[str, list[str]] = {}
        commands = self.parser.add_subcommands()
        for name, skip in names.items():
            summary = (getattr(trainer_class, name).__doc__ or "").strip().split("\n")[0].replace("`", "")
            parser = self.init_parser(**{"description": summary, **self.parser_kwargs.get(name, {})})
            self._add_arguments(parser)
            self._subcommand_method_arguments[name] = parser.add_method_arguments(trainer_class, name, skip=set(skip))
            self._subcommand_parsers[name] = parser
            commands.add_subcommand(name, parser, help=summary)

    def _add_arguments(self, parser: LightningArgumentParser) -> None:
        self.add_default_arguments_to_parser(parser)
        self.add_core_arguments_to_parser(parser)
        self.add_arguments_to_parser(parser)
        if self.auto_configure_optimizers:
            if not parser._optimizers:
                parser.add_optimizer_args()
            if not parser._lr_schedulers:
                parser.add_lr_scheduler_args()
        self.link_optimizers_and_lr_schedulers(parser)

    @staticmethod
    def link_optimizers_and_lr_schedulers(parser: LightningArgumentParser) -> None:
        """Hand what was added with a ``link_to`` to the arguments of the module that take it."""
        for key, (kind, link_to) in {**parser._optimizers, **parser._lr_schedulers}.items():
            if link_to != "AUTOMATIC":
                wrap = None if isinstance(kind, tuple) else partial(_with_class_path, kind)
                parser.link_arguments(key, link_to, compute_fn=wrap)

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """``--seed_everything``."""
        parser.add_argument(
            "--seed_everything",
            type=bool | int,
            default=self.seed_everything_default,
            help="An int seeds all random streams before the objects are made; true takes a random seed.",
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """``--trainer``, ``--model`` and ``--data``."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{key}": v for key, v in self.trainer_defaults.items() if key != "callbacks"})
        parser.add_lightning_class_args(self.model_class or LightningModule, "model", self.subclass_mode_model)
        given = self.datamodule_class is not None  # without one, the module may bring its own loaders
        parser.add_lightning_class_args(self.datamodule_class or LightningDataModule, "data", self.subclass_mode_data, given)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """For subclasses: more options, and ``parser.link_arguments("data.batch_size", "model.batch_size")``."""

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Set ``self.config``."""
        self.config = parser.parse_object(args) if isinstance(args, (dict, Namespace)) else parser.parse_args(args)

    # ------------------------------------------------------------------ from configuration to objects

    def _get(self, config: Any, key: str, default: Any = None) -> Any:
        """``config[key]`` of the subcommand, if there is one."""
        return config.get(str(self.subcommand), config).get(key, default)

    def _parser(self) -> LightningArgumentParser:
        return self.parser if self.subcommand is None else self._subcommand_parsers[self.subcommand]

    def _take_hyper_parameters_of_checkpoint(self) -> None:
        """``--ckpt_path FILE``: the model is made with the hyper-parameters that the file holds."""
        path = self._get(self.config, "ckpt_path") if self.subcommand else None
        if not path or not Path(path).is_file():
            return
        from lit.checkpoint import load_checkpoint

        found = dict(load_checkpoint(path, map_location="cpu").get(LightningModule.CHECKPOINT_HYPER_PARAMS_KEY) or {})
        if found and not self.subclass_mode_model:
            self.config = self.parser.parse_object({self.subcommand: {"model": found}}, self.config)

    def _set_seed(self) -> None:
        seed = self._get(self.config, "seed_everything")
        if seed is False:
            return
        seed = seed_everything(None if seed is True else seed, workers=True)
        (self.config[self.subcommand] if self.subcommand else self.config)["seed_everything"] = seed

    def before_instantiate_classes(self) -> None:
        """For subclasses: the configuration is there, the objects are not."""

    def instantiate_classes(self) -> None:
        """Make ``self.datamodule``, ``self.model`` and ``self.trainer``."""
        self.config_init = self.parser.instantiate(self.config)
        self.datamodule = self._get(self.config_init, "data")
        self.model = self._get(self.config_init, "model")
        if self.auto_configure_optimizers:
            self._give_optimizers_to_model()
        self.trainer = self.instantiate_trainer()

    def after_instantiate_classes(self) -> None:
        """For subclasses: the objects are there, nothing runs yet."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The Trainer with its callbacks; ``kwargs`` replace flags."""
        flags = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        callbacks = flags.get("callbacks") or []
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        callbacks += [self._get(self.config_init, key) for key in self._parser().callback_keys]
        defaults = self.trainer_defaults.get("callbacks") or []
        callbacks += defaults if isinstance(defaults, list) else [defaults]
        if self.save_config_callback and not flags.get("fast_dev_run"):
            config = self.config.get(str(self.subcommand), self.config)
            callbacks.append(self.save_config_callback(self._parser(), config, **self.save_config_kwargs))
        return self.trainer_class(**{**flags, "callbacks": callbacks})

    @staticmethod
    def configure_optimizers(lightning_module: LightningModule, optimizer: Any, lr_scheduler: Any = None) -> Any:
        """What ``configure_optimizers`` of the module returns when the command line chose them."""
        if lr_scheduler is None:
            return optimizer
        if isinstance(lr_scheduler, ReduceLROnPlateau):
            config = {"scheduler": lr_scheduler, "monitor": lr_scheduler.monitor}
            return {"optimizer": optimizer, "lr_scheduler": config}
        return [optimizer], [lr_scheduler]

    def _give_optimizers_to_model(self) -> None:
        """Replace ``configure_optimizers`` if the command line names an optimizer."""
        parser = self._parser()
        optimizers, schedulers = (
            [(key, kind) for key, (kind, link_to) in table.items() if link_to == "AUTOMATIC"]
            for table in (parser._optimizers, parser._lr_schedulers)
        )
        if len(optimizers) > 1 or len(schedulers) > 1:
            raise MisconfigurationException(
                "LightningCLI: at most one optimizer and one lr_scheduler can be 'AUTOMATIC', found"
                f" {[key for key, _ in optimizers + schedulers]}. HINT: give the others a link_to."
            )
        chosen = [self._chosen(key, kind) for key, kind in optimizers]
        if not chosen or not chosen[0]:
            return
        if is_overridden("configure_optimizers", self.model, LightningModule):
            warnings.warn(
                f"[W101] LightningCLI: the optimizer of the command line replaces {type(self.model).__name__}"
                ".configure_optimizers. HINT: auto_configure_optimizers=False keeps the method and drops the options.",
                stacklevel=4,
            )
        optimizer = instantiate_class(self.model.parameters(), chosen[0])
        later = [self._chosen(key, kind) for key, kind in schedulers]
        scheduler = instantiate_class(optimizer, later[0]) if later and later[0] else None
        method = partial(self.configure_optimizers, optimizer=optimizer, lr_scheduler=scheduler)
        update_wrapper(method, self.configure_optimizers)
        self.model.configure_optimizers = MethodType(method, self.model)

    def _chosen(self, key: str, kind: Any) -> dict[str, Any] | None:
        found = self._get(self.config_init, key)
        return found if isinstance(kind, tuple) else _with_class_path(kind, found)

    # ------------------------------------------------------------------ running

    def _run_subcommand(self, name: str) -> None:
        """``before_<name>``, the Trainer's method (or one of this class of that name), ``after_<name>``."""
        arguments = {
            key: value
            for key, value in self.config_init[name].items()
            if key in self._subcommand_method_arguments[name]
        }
        arguments["model"] = self.model
        if self.datamodule is not None:
            arguments["datamodule"] = self.datamodule
        for step, given in ((f"before_{name}", {}), (name, arguments), (f"after_{name}", {})):
            method = getattr(self, step, getattr(self.trainer, name) if step == name else None)
            if method is not None:
                method(**given)


def _with_class_path(kind: type, init_args: Any = None) -> dict[str, Any]:
    plain = init_args.as_dict() if isinstance(init_args, Namespace) else init_args
    return {"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": plain or {}}


def instantiate_class(args: Any, init: Any) -> Any:
    """The object that ``{"class_path": ..., "init_args": ...}`` describes, with ``args`` as its first arguments.

    Example:
        >>> from lit.cli import instantiate_class
        >>> instantiate_class(10, {"class_path": "builtins.range", "init_args": {}})
        range(0, 10)
    """
    module, _, name = init["class_path"].rpartition(".")
    kind: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return kind(*(args if isinstance(args, tuple) else (args,)), **dict(init.get("init_args") or {}))
