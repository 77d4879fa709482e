"""What a training step returns, and the gradients of several batches as those of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import engine
from callbacks import MisconfigurationException
from engine import Tensor

if TYPE_CHECKING:
    from lit.state import RunState

LOSS_WEIGHT = "loss_weight"


def loss_and_extra(output: Any) -> tuple[Tensor, dict[str, Any]]:
    """The loss, and what else ``training_step`` returned with it.

    Raises:
        MisconfigurationException: there is no loss Tensor.
    """
    loss, extra = output, {}
    if not isinstance(output, Tensor) and isinstance(output, Mapping):
        loss = output.get("loss")
        extra = {name: value for name, value in output.items() if name != "loss"}
    if not isinstance(loss, Tensor):
        keys = f" with the keys {list(output)}" if isinstance(output, Mapping) else ""
        raise MisconfigurationException(
            f"`training_step` returned {type(output).__name__}{keys};"
            " expected a loss Tensor, a dict with a loss Tensor under 'loss', or None."
        )
    return loss, extra


def detached(output: Any) -> dict[str, Any]:
    """What ``training_step`` returned in manual optimization, for ``on_train_batch_end``.

    Raises:
        MisconfigurationException: it is neither a Tensor, a dict nor None.
    """
    if output is None:
        return {}
    if isinstance(output, Tensor):
        return {"loss": output.detach()}
    if isinstance(output, Mapping):
        return {name: value.detach() if isinstance(value, Tensor) else value for name, value in output.items()}
    raise MisconfigurationException(
        f"`training_step` returned {type(output).__name__}; manual optimization expects a Tensor, a dict or None."
    )


def refuse_nan(loss: Tensor, state: RunState, batch_idx: int) -> None:
    """Raise RuntimeError if the loss is NaN."""
    if math.isnan(loss.item()):
        raise RuntimeError(
            f"`training_step` returned a loss of nan (epoch {state.current_epoch}, batch {batch_idx},"
            f" global step {state.global_step}). HINT: Trainer(detect_anomaly=True) stops at the first one;"
            " look at the inputs, the learning rate and logarithms or divisions in the loss."
        )


class Window:
    """The batches between two optimizer steps, whose gradients add up to those of one large batch.

    Each loss is divided by the number of batches. Where that turns out to be another one (a loader without a length
    ends, a step returns None), the gradients are corrected before the optimizer steps. A step that returns
    ``{"loss": mean, "loss_weight": n}`` gives its loss the weight n (samples, tokens): the gradients are those of the
    weighted mean, sum(n * loss) / sum(n).

    Example:
        >>> from lit.outputs import Window
        >>> weight = nn.Parameter(torch.ones(1))
        >>> window = Window(size=2)
        >>> for loss, tokens in ((weight * 3.0, 1), (weight * 6.0, 2)):
        ...     window.share(loss.sum(), tokens).backward()
        >>> window.correct([weight])
        >>> weight.grad.item()
        5.0
    """

    def __init__(self, size: int | float = 1, weight: float = 0.0, weighted: bool = False) -> None:
        self.size = size
        self.weight = weight  # of the batches so far; their number where no weights are given
        self.weighted = weighted

    def share(self, loss: Tensor, weight: Any) -> Tensor:
        """What to call ``backward`` on, for one more batch.

        Raises:
            MisconfigurationException: some batches of a window have a weight, others have none.
            ValueError: the weight is not a positive number.
        """
        if self.weight and self.weighted != (weight is not None):
            raise MisconfigurationException(
                f"`training_step` returned '{LOSS_WEIGHT}' for some batches of an accumulation window and not for others."
                " HINT: return it for all."
            )
        if weight is None:
            self.weight += 1
            return loss / self.size
        weight = float(weight)
        if not weight > 0:
            raise ValueError(f"`training_step` returned {LOSS_WEIGHT}={weight}: expected a positive number.")
        self.weight, self.weighted = self.weight + weight, True
        return loss * weight

    def correct(self, parameters: list[Any]) -> None:
        """Scale the gradients by what is known only now that the window is complete."""
        factor = (1.0 if self.weighted else self.size) / (self.weight or self.size)
        if factor == 1.0:
            return
        with engine.no_grad():
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    def state_dict(self) -> dict[str, Any]:
        return {"size": self.size, "weight": self.weight, "weighted": self.weighted}
