"""Loggers: where metrics and hyper-parameters are written. ``lit.loggers`` is this same module."""

from loggers.base import Logger
from loggers.csv_logs import CSVLogger
from loggers.dummy import DummyLogger
from loggers.jsonl import JSONLinesLogger
from loggers.mlflow import MLFlowLogger
from loggers.tensorboard import TensorBoardLogger
from loggers.wandb import WandbLogger

__all__ = ["CSVLogger", "DummyLogger", "JSONLinesLogger", "Logger", "MLFlowLogger", "TensorBoardLogger", "WandbLogger"]
