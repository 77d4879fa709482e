"""WandbLogger: metrics, hyper-parameters, media and checkpoints in Weights & Biases."""

from __future__ import annotations

import json
import os
from typing import Any

from loggers.artifacts import CheckpointUploads, ServiceLogger
from loggers.hparams import to_dict

STEP = "trainer/global_step"


class WandbLogger(ServiceLogger):
    """Write to Weights & Biases. wandb (``pip install wandb``) is imported with the first use.

    Args:
        name: the run's name.
        save_dir: folder for its files; ``dir`` is another name for it.
        version: the run's id, to go on with a run; ``id`` is another name for it.
        offline: write to the folder only; ``wandb sync`` sends it later.
        anonymous: whether a run without an account is allowed.
        project: the project; None takes ``$WANDB_PROJECT`` or "lightning_logs".
        log_model: True hands checkpoints over at the end of the run, "all" as they are written, False never.
        experiment: a run that is open already.
        prefix: put before every metric name, joined by ``-``.
        checkpoint_name: the name of the model artifact.
        add_file_policy: "mutable" (wandb copies the file) or "immutable".
        **kwargs: handed to ``wandb.init`` (``entity``, ``group``, ``tags``, ...).

    Raises:
        ModuleNotFoundError: wandb is not installed.
        ValueError: ``log_model`` with ``offline``.

    Example:
        >>> from loggers import WandbLogger
        >>> logger = WandbLogger(project="digits", offline=True)
        >>> logger.name, logger.version
        ('digits', None)
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        name: str | None = None,
        save_dir: str | os.PathLike[str] | None = ".",
        version: str | None = None,
        offline: bool = False,
        dir: str | os.PathLike[str] | None = None,
        id: str | None = None,
        anonymous: bool | None = None,
        project: str | None = None,
        log_model: bool | str = False,
        experiment: Any = None,
        prefix: str = "",
        checkpoint_name: str | None = None,
        add_file_policy: Any = "mutable",
        **kwargs: Any,
    ) -> None:
        if offline and log_model:
            raise ValueError(
                f"WandbLogger(offline=True, log_model={log_model!r}): checkpoints cannot be sent in offline mode."
                " HINT: offline=False, or log_model=False."
            )
        folder = save_dir if save_dir is not None else dir
        self._arguments: dict[str, Any] = {
            "name": name,
            "project": project or os.environ.get("WANDB_PROJECT", "lightning_logs"),
            "dir": None if folder is None else os.fspath(folder),
            "id": version or id,
            "resume": "allow",
            **({"mode": "offline"} if offline else {}),
            **({"anonymous": "allow"} if anonymous else {}),
            **kwargs,
        }
        self._prefix, self._experiment = prefix, experiment
        self._checkpoint_name, self.add_file_policy = checkpoint_name, add_file_policy
        self._uploads = CheckpointUploads(log_model)

    @property
    def experiment(self) -> Any:
        """The ``wandb.Run``: one that is open in this process, or a new one when first asked for."""
        if self._experiment is None:
            import wandb

            self._experiment = wandb.run
            if self._experiment is None:
                self._experiment = wandb.init(**self._arguments)
                if not self._arguments.get("sync_tensorboard"):
                    self._experiment.define_metric(STEP)
                    self._experiment.define_metric("*", step_metric=STEP, step_sync=True)
        return self._experiment

    @property
    def name(self) -> str | None:
        """The project."""
        return self._arguments["project"]

    @property
    def version(self) -> str | None:
        """The run's id; None until there is a run, unless it was given."""
        return self._experiment.id if self._experiment is not None else self._arguments["id"]

    @property
    def save_dir(self) -> str | None:
        """Folder for wandb's files."""
        return self._arguments["dir"]

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Record numbers, or anything else that ``wandb.log`` takes, at ``step``."""
        prefix = f"{self._prefix}{self.LOGGER_JOIN_CHAR}" if self._prefix else ""
        named = {prefix + name: value for name, value in metrics.items()}
        if step is not None and not self._arguments.get("sync_tensorboard"):
            named[STEP] = step
        self.experiment.log(named)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Record hyper-parameters in the run's config; what JSON has no form for is recorded as text."""
        plain = json.loads(json.dumps(to_dict(params), default=str))
        self.experiment.config.update(plain, allow_val_change=True)

    # ------------------------------------------------------------------ media

    def log_table(
        self, key: str, columns: list[str | int] | None = None, data: list[list[Any]] | None = None, dataframe: Any = None,
        step: int | None = None,
    ) -> None:  # fmt: skip
        """Record a table: column names and rows, or a data frame."""
        import wandb

        self.log_metrics({key: wandb.Table(columns=columns, data=data, dataframe=dataframe)}, step)

    def log_text(
        self, key: str, columns: list[str] | None = None, data: list[list[str]] | None = None, dataframe: Any = None,
        step: int | None = None,
    ) -> None:  # fmt: skip
        """Record text as a table."""
        self.log_table(key, columns, data, dataframe, step)  # type: ignore[arg-type]

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Record images: arrays, tensors, files or PIL images; ``kwargs`` are lists, one entry per image."""
        self._log_media("Image", "images", key, images, step, kwargs)

    def log_audio(self, key: str, audios: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Record sounds, as ``log_image`` does images."""
        self._log_media("Audio", "audios", key, audios, step, kwargs)

    def log_video(self, key: str, videos: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Record films, as ``log_image`` does images."""
        self._log_media("Video", "videos", key, videos, step, kwargs)

    def _log_media(
        self, kind: str, argument: str, key: str, items: Any, step: int | None, options: dict[str, list[Any]]
    ) -> None:
        import wandb

        if not isinstance(items, list):
            raise TypeError(f'Expected a list as "{argument}", found {type(items)}')
        for name, values in options.items():
            if len(values) != len(items):
                raise ValueError(f"Expected {len(items)} items but only found {len(values)} for {name}")
        plain = [item.detach().cpu().numpy() if hasattr(item, "detach") else item for item in items]
        made = [
            getattr(wandb, kind)(item, **{name: values[index] for name, values in options.items()})
            for index, item in enumerate(plain)
        ]
        self.log_metrics({key: made}, step)

    def watch(self, model: Any, log: str | None = "gradients", log_freq: int = 100, log_graph: bool = True) -> None:
        """Not supported: wandb hooks into PyTorch's own modules.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "WandbLogger.watch(model) is not supported, for wandb hooks into PyTorch's modules."
            " HINT: self.log_dict(lit.utilities.grad_norm(self, 2)) in on_before_optimizer_step."
        )

    # ------------------------------------------------------------------ checkpoints

    def finalize(self, status: str) -> None:
        """Hand over what is due; the run stays open, for ``test`` after ``fit`` (``wandb.finish()`` closes it)."""
        if status == "success" and self._experiment is not None:
            for callback in self._uploads.due_at_the_end():
                self._upload(callback)

    def _upload(self, callback: Any) -> None:
        import wandb

        for path, metadata, aliases in self._uploads.new_files(callback):
            name = self._checkpoint_name or f"model-{self.experiment.id}"
            artifact = wandb.Artifact(name=name, type="model", metadata=metadata)
            artifact.add_file(str(path), name="model.ckpt", policy=self.add_file_policy)
            self.experiment.log_artifact(artifact, aliases=aliases)

    @staticmethod
    def download_artifact(
        artifact: str,
        save_dir: str | os.PathLike[str] | None = None,
        artifact_type: str | None = None,
        use_artifact: bool | None = True,
    ) -> str:
        """Download an artifact; returns its folder."""
        import wandb

        if wandb.run is not None and use_artifact:
            found = wandb.run.use_artifact(artifact)
        else:
            found = wandb.Api().artifact(artifact, type=artifact_type)
        return found.download(root=None if save_dir is None else os.fspath(save_dir))

    def use_artifact(self, artifact: str, artifact_type: str | None = None) -> Any:
        """Note that this run uses ``artifact``."""
        return self.experiment.use_artifact(artifact, type=artifact_type)

    def __getstate__(self) -> dict[str, Any]:
        arguments = {**self._arguments, "id": self.version}  # a copy goes on with the same run
        return {**self.__dict__, "_arguments": arguments, "_experiment": None}
