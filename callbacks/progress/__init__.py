"""Progress bars: the base class, and the one that is used by default."""

from callbacks.progress.progress_bar import ProgressBar
from callbacks.progress.tqdm_progress import TQDMProgressBar

__all__ = ["ProgressBar", "TQDMProgressBar"]
