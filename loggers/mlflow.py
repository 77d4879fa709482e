"""MLFlowLogger: metrics, hyper-parameters and checkpoints in MLflow."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from loggers.artifacts import CheckpointUploads, ServiceLogger
from loggers.hparams import flatten, to_dict, to_yaml

PARAMETERS_PER_CALL = 100  # MLflow's limit
LONGEST_PARAMETER = 250
NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_/. -]+")
STATUS = {"success": "FINISHED", "finished": "FINISHED", "failed": "FAILED"}


class MLFlowLogger(ServiceLogger):
    """Write to an MLflow server, database or folder. MLflow (``pip install mlflow``) is imported with the first use.

    Args:
        experiment_name: the experiment, made if there is none of that name.
        run_name: the run's name.
        tracking_uri: server or database; None takes ``$MLFLOW_TRACKING_URI``, and without one the SQLite database
            ``mlflow.db`` in ``save_dir`` (MLflow 3 no longer writes to plain folders).
        tags: tags of the run.
        save_dir: folder of database and artifacts when there is no ``tracking_uri``.
        log_model: True hands checkpoints over at the end of the run, "all" as they are written, False never.
        prefix: put before every metric name, joined by ``-``.
        artifact_location: where a new experiment keeps its artifacts.
        run_id: a run to go on with.
        synchronous: False lets MLflow send metrics in the background.

    Raises:
        ModuleNotFoundError: MLflow is not installed.

    Example:
        >>> from loggers import MLFlowLogger
        >>> MLFlowLogger("digits", save_dir="runs").save_dir
        'runs'
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        experiment_name: str = "lightning_logs",
        run_name: str | None = None,
        tracking_uri: str | None = None,
        tags: dict[str, Any] | None = None,
        save_dir: str | None = "./mlruns",
        log_model: bool | str = False,
        prefix: str = "",
        artifact_location: str | None = None,
        run_id: str | None = None,
        synchronous: bool | None = None,
    ) -> None:
        self._experiment_name, self._run_name, self._prefix = experiment_name, run_name, prefix
        self._tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
        self._save_dir = None if self._tracking_uri else os.fspath(save_dir or "./mlruns")
        self.tags = dict(tags or {})
        self._artifact_location, self._run_id = artifact_location, run_id
        self._how: dict[str, Any] = {} if synchronous is None else {"synchronous": synchronous}
        self._uploads = CheckpointUploads(log_model)
        self._experiment_id: str | None = None
        self._client: Any = None

    @property
    def experiment(self) -> Any:
        """The ``MlflowClient``; the run is made (or found) when it is first asked for."""
        if self._client is None:
            from mlflow.tracking import MlflowClient

            if self._save_dir is not None:
                folder = Path(self._save_dir).absolute()
                folder.mkdir(parents=True, exist_ok=True)
                self._tracking_uri = f"sqlite:///{folder / 'mlflow.db'}"
                self._artifact_location = self._artifact_location or (folder / "artifacts").as_uri()
            client = MlflowClient(self._tracking_uri)
            if self._run_id is None:
                self._start_run(client)
            else:
                self._experiment_id = client.get_run(self._run_id).info.experiment_id
            self._client = client
        return self._client

    def _start_run(self, client: Any) -> None:
        from mlflow.tracking.context.registry import resolve_tags

        found = client.get_experiment_by_name(self._experiment_name)
        if found is not None and found.lifecycle_stage != "deleted":
            self._experiment_id = found.experiment_id
        else:
            self._experiment_id = client.create_experiment(self._experiment_name, self._artifact_location)
        if self._run_name is not None:
            self.tags["mlflow.runName"] = self._run_name
        self._run_id = client.create_run(self._experiment_id, tags=resolve_tags(self.tags)).info.run_id

    @property
    def run_id(self) -> str | None:
        """The run's id."""
        self.experiment  # noqa: B018 - makes the run
        return self._run_id

    @property
    def experiment_id(self) -> str | None:
        """The experiment's id."""
        self.experiment  # noqa: B018 - finds the experiment
        return self._experiment_id

    @property
    def name(self) -> str | None:
        """The experiment's id."""
        return self.experiment_id

    @property
    def version(self) -> str | None:
        """The run's id."""
        return self.run_id

    @property
    def save_dir(self) -> str | None:
        """The folder that MLflow writes to; None with a server or database of one's own."""
        return self._save_dir

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record ``metrics``; characters that MLflow does not take in names are left out of them."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        prefix = f"{self._prefix}{self.LOGGER_JOIN_CHAR}" if self._prefix else ""
        batch = [
            Metric(NOT_IN_A_NAME.sub("", prefix + name), float(value), now, step or 0) for name, value in metrics.items()
        ]
        self.experiment.log_batch(self.run_id, metrics=batch, **self._how)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Record hyper-parameters; values are cut off after 250 characters."""
        from mlflow.entities import Param

        found = [Param(name, str(value)[:LONGEST_PARAMETER]) for name, value in flatten(to_dict(params)).items()]
        for start in range(0, len(found), PARAMETERS_PER_CALL):
            self.experiment.log_batch(self.run_id, params=found[start : start + PARAMETERS_PER_CALL], **self._how)

    def finalize(self, status: str = "success") -> None:
        """Hand over what is due, and close the run."""
        if self._client is None:
            return
        for callback in self._uploads.due_at_the_end():
            self._upload(callback)
        self._client.set_terminated(self._run_id, STATUS.get(status, status))

    def _upload(self, callback: Any) -> None:
        for path, metadata, aliases in self._uploads.new_files(callback):
            self.experiment.log_artifact(self.run_id, str(path), path.stem)
            with tempfile.TemporaryDirectory() as beside:
                Path(beside, "metadata.yaml").write_text(to_yaml(metadata), encoding="utf-8")
                Path(beside, "aliases.txt").write_text(json.dumps(aliases), encoding="utf-8")
                self.experiment.log_artifacts(self.run_id, beside, path.stem)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}
