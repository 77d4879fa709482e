"""``lightning.pytorch.core.hooks``: the hooks of modules and of data, as classes."""

from lit.data_hooks import DataHooks
from lit.model_hooks import ModelHooks

__all__ = ["DataHooks", "ModelHooks"]
