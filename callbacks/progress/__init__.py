"""Progress bars."""

from callbacks.progress.progress_bar import ProgressBar
from callbacks.progress.rich_progress import RichProgressBar, RichProgressBarTheme
from callbacks.progress.tqdm_progress import TQDMProgressBar

__all__ = ["ProgressBar", "RichProgressBar", "RichProgressBarTheme", "TQDMProgressBar"]
