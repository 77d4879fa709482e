"""What ``python -m lit`` does with files."""

from lit.tools.convert import convert
from lit.tools.info import describe_file, summarize_file

__all__ = ["convert", "describe_file", "summarize_file"]
