"""``lit.demos``: the smallest modules and data that exercise everything, for tests and bug reports."""

from lit.demos import boring_classes

__all__ = ["boring_classes"]
