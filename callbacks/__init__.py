"""Callbacks: behaviour that the Trainer runs at named moments (hooks). ``lit.callbacks`` is this same module."""

from callbacks.base import Callback
from callbacks.batch_size_finder import BatchSizeFinder
from callbacks.checkpoint import Checkpoint
from callbacks.device_stats_monitor import DeviceStatsMonitor
from callbacks.early_stopping import EarlyStopping, EarlyStoppingReason
from callbacks.exceptions import MisconfigurationException
from callbacks.finetuning import BackboneFinetuning, BaseFinetuning
from callbacks.gradient_accumulation_scheduler import GradientAccumulationScheduler
from callbacks.lambda_function import LambdaCallback
from callbacks.lr_finder import LearningRateFinder
from callbacks.lr_monitor import LearningRateMonitor
from callbacks.model_checkpoint import ModelCheckpoint
from callbacks.model_summary import ModelSummary
from callbacks.on_exception_checkpoint import OnExceptionCheckpoint
from callbacks.prediction_writer import BasePredictionWriter
from callbacks.progress import ProgressBar, RichProgressBar, TQDMProgressBar
from callbacks.pruning import ModelPruning
from callbacks.rich_model_summary import RichModelSummary
from callbacks.spike_detection import SpikeDetection
from callbacks.stochastic_weight_averaging import StochasticWeightAveraging
from callbacks.throughput_monitor import ThroughputMonitor
from callbacks.timer import Timer
from callbacks.weight_averaging import EMAWeightAveraging, WeightAveraging

__all__ = [
    "BackboneFinetuning",
    "BaseFinetuning",
    "BasePredictionWriter",
    "BatchSizeFinder",
    "Callback",
    "Checkpoint",
    "DeviceStatsMonitor",
    "EMAWeightAveraging",
    "EarlyStopping",
    "EarlyStoppingReason",
    "GradientAccumulationScheduler",
    "LambdaCallback",
    "LearningRateFinder",
    "LearningRateMonitor",
    "MisconfigurationException",
    "ModelCheckpoint",
    "ModelPruning",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "ProgressBar",
    "RichModelSummary",
    "RichProgressBar",
    "SpikeDetection",
    "StochasticWeightAveraging",
    "TQDMProgressBar",
    "ThroughputMonitor",
    "Timer",
    "WeightAveraging",
]
