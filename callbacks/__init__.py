"""Callbacks: behaviour that the Trainer runs at named moments (hooks). ``lit.callbacks`` is this same module."""

from callbacks.base import Callback
from callbacks.checkpoint import Checkpoint
from callbacks.early_stopping import EarlyStopping, EarlyStoppingReason
from callbacks.exceptions import MisconfigurationException
from callbacks.lambda_function import LambdaCallback
from callbacks.lr_monitor import LearningRateMonitor
from callbacks.model_checkpoint import ModelCheckpoint
from callbacks.model_summary import ModelSummary
from callbacks.progress import ProgressBar, TQDMProgressBar
from callbacks.timer import Timer

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "EarlyStoppingReason",
    "LambdaCallback",
    "LearningRateMonitor",
    "MisconfigurationException",
    "ModelCheckpoint",
    "ModelSummary",
    "ProgressBar",
    "TQDMProgressBar",
    "Timer",
]
