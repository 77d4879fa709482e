"""Small helpers under the names Lightning users import from ``lightning.pytorch.utilities``."""

from __future__ import annotations

from callbacks import MisconfigurationException
from lit.combined_loader import CombinedLoader
from lit.hparams import AttributeDict
from lit.rng import isolate_rng
from lit.transfer import move_data_to_device
from lit.utilities import model_summary, types
from lit.utilities.grads import grad_norm
from lit.utilities.rank_zero import rank_zero_debug, rank_zero_deprecation, rank_zero_info, rank_zero_only, rank_zero_warn

__all__ = [
    "AttributeDict",
    "CombinedLoader",
    "MisconfigurationException",
    "grad_norm",
    "isolate_rng",
    "model_summary",
    "move_data_to_device",
    "rank_zero_debug",
    "rank_zero_deprecation",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
    "types",
]
