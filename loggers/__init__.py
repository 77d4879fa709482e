"""Loggers: where metrics and hyper-parameters are written. ``lit.loggers`` is this same module."""

from loggers.base import Logger
from loggers.csv_logs import CSVLogger
from loggers.dummy import DummyLogger
from loggers.jsonl import JSONLinesLogger
from loggers.tensorboard import TensorBoardLogger

__all__ = ["CSVLogger", "DummyLogger", "JSONLinesLogger", "Logger", "TensorBoardLogger"]
