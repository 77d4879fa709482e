"""The error that means "these settings cannot work together"."""

from __future__ import annotations


class MisconfigurationException(Exception):
    """A setting, or a combination of settings, that cannot work.

    It lives here, and not in ``lit``, because callbacks raise it and may not import ``lit``;
    ``lit`` re-exports it under the name that Lightning users know.

    Example:
        >>> from callbacks import MisconfigurationException
        >>> issubclass(MisconfigurationException, Exception)
        True
    """
