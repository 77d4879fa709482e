"""Normalisation by channel: batch, group and instance norm, and local response normalisation.

The gradient is the one that normalization.py explains.
"""

from __future__ import annotations

from typing import Any

from ..gpu import channels as on_gpu
from ..gpu.rows import GroupNormRows
from ..tensor import Tensor
from . import _channels, _features
from .base import CARDS, Op, composite, expect_tensor, op
from .normalization import input_gradient, traced_standardise
from .samples import samples_for


def _channel_gradients(xp: Any, s: Any, g: Any, normal: Any, finish: Any) -> tuple:
    """Gradients of input, weight and bias; `finish` makes the input's of that of the normalised input."""
    need_x, need_w, need_b = s.needs
    w, ndim = s.inputs[1], len(g.shape)
    axes = (0, *range(2, ndim))
    gx = None
    if need_x:
        gx = finish(g if w is None else g * xp._reshape(w, (-1, *[1] * (ndim - 2))))
    gw = xp.sum(g * normal, axes, False, None) if need_w else None
    return gx, gw, xp.sum(g, axes, False, None) if need_b else None


def _check_channels(input: Tensor, function: str, **named: Any) -> None:
    channels = input._array.shape[1]
    for name, t in named.items():
        if t is not None and t._array.size != channels:
            raise RuntimeError(
                f"{name} should contain {channels} elements not {t._array.size} ({function}(), "
                f"input of size {list(input.shape)})"
            )


def _track(running: Any, value: Any, momentum: float) -> None:
    """running = (1 - momentum) * running + momentum * value, in place; computed in float32 or wider."""
    if running is None:
        return
    if running.dtype.itemsize < value.dtype.itemsize:
        running[...] = running.astype(value.dtype) * (1 - momentum) + momentum * value
    else:
        running *= 1 - momentum
        running += momentum * value


@op("batch_norm", function=False, method=False, functional=True, node="NativeBatchNormBackward0")
class BatchNorm(Op):
    """Normalise each channel (dimension 1) over all other dimensions; then scale by `weight` and shift by `bias`.

    Shapes: input (N, C, *), all others (C). With `training` the batch's mean and biased variance are used, and
    `running_mean` and `running_var` (if given) move towards them, in place, by `momentum`; the variance that is
    tracked is the unbiased one. Otherwise the running statistics are used. ValueError for a single value per channel
    in training, RuntimeError for wrong sizes. Ioffe and Szegedy 2015.

    >>> mean, var = torch.zeros(1), torch.ones(1)
    >>> nn.functional.batch_norm(torch.tensor([[1.], [3.]]), mean, var, training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    >>> mean, var
    (tensor([0.2000]), tensor([1.1000]))
    """

    n = 3
    keep = {0: (0, 1), 1: (0,)}
    has_aux = True
    gpu = on_gpu.BatchNorm()

    @staticmethod
    def forward(
        xp: Any, x: Any, w: Any, b: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float,
        slope: float = 1.0,
    ) -> Any:
        if training:
            given = (x, w, b, eps)
            side_by_side = slope == 1 and _features.fits(x)
            found = _features.standardise(*given) if side_by_side else _channels.standardise(xp, *given, slope)
            out, batch_mean, square, rstd, count = found
            _track(mean, batch_mean, momentum)
            _track(var, square / x.dtype.type(max(count - 1, 1)), momentum)
            return out, (batch_mean, rstd)
        mean, rstd = mean.astype(x.dtype), 1 / xp.sqrt(var.astype(x.dtype) + x.dtype.type(eps))
        return _channels.normalise(xp, x, w, b, mean, rstd, slope), (mean, rstd)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, w, _), (mean, rstd) = s.inputs, s.aux
        if s.params[2] and x is not None and _features.fits(g, x):
            return _features.gradients(g, x, w, mean, rstd, s.needs)
        return _channels.gradients(xp.np, g, x, w, mean, rstd, s.params[2], s.needs)

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        x, (_, _, training, _, eps) = s.inputs[0], s.params[:5]
        if x is None:
            return cls.gradients(xp, s, g, None, None)
        if not training:
            mean, rstd = (a.reshape(-1, *[1] * (len(x.shape) - 2)) for a in s.aux[:2])
            return cls.gradients(xp, s, g, (x - mean) * rstd, rstd)
        axes = (0, *range(2, len(x.shape)))
        return cls.gradients(xp, s, g, *traced_standardise(xp, x, axes, x.numel() // max(x.shape[1], 1), eps))

    @staticmethod
    def gradients(xp: Any, s: Any, g: Any, normal: Any, rstd: Any) -> tuple:
        def finish(h: Any) -> Any:
            if not s.params[2]:
                return h * rstd
            count = 1
            for i, n in enumerate(h.shape):
                count *= n if i != 1 else 1
            return input_gradient(xp, h, normal, rstd, (0, *range(2, len(h.shape))), count)

        return _channel_gradients(xp, s, g, normal, finish)

    @staticmethod
    def call(
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        return apply_batch_norm(BatchNorm, input, running_mean, running_var, weight, bias, training, momentum, eps)

    @staticmethod
    def samples(make: Any) -> Any:
        def case(shape: tuple, affine: bool = True, running: bool = True, **options: Any) -> Any:
            c = (shape[1],)
            mean, var = (make.uniform(c, grad=False), make.uniform(c, 0.5, 2, grad=False)) if running else (None, None)
            more = (make.uniform(c), make.uniform(c)) if affine else (None, None)
            return make("batch_norm", make.uniform(shape), mean, var, *more, _module="nn.functional", **options)

        yield case((4, 3), training=True)
        yield case((4, 3), training=False)
        yield case((2, 3, 4), training=True, eps=1e-2)
        yield case((2, 3, 2, 3), training=True, momentum=0.3)
        yield case((2, 3, 2, 3), affine=False, running=False, training=True)
        yield case((2, 3, 2, 3), training=False)


def apply_batch_norm(
    card: Any,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    *more: Any,
) -> Tensor:
    """Check the arguments of batch_norm, apply `card` to them (`more` are the numbers), and note that statistics changed."""
    shape = expect_tensor(input, "batch_norm")._array.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"batch_norm(): expected input with at least 2 dimensions (N, C, *), got shape {list(shape)}"
        )
    if input._array.dtype.kind in "iub":
        raise NotImplementedError(f"batch_norm(): not implemented for {input.dtype}; expected a floating dtype")
    if training and input._array.size == shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("running_mean and running_var must be defined in evaluation mode")
    _check_channels(input, "batch_norm", running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    mean = None if running_mean is None else running_mean._array
    var = None if running_var is None else running_var._array
    out = card.apply(input, weight, bias, mean, var, training, *more)
    if training:
        for t in (running_mean, running_var):
            if t is not None:
                t._bump("batch_norm")
    return out


@op("group_norm", method=False, functional=True, node="NativeGroupNormBackward0")
class GroupNorm(Op):
    """Normalise groups of channels over their channels and all spatial dimensions; then scale and shift by channel.

    Shapes: input (N, C, *), weight and bias (C). RuntimeError unless `num_groups` divides C. Wu and He 2018.

    >>> nn.functional.group_norm(torch.tensor([[1., 3., 0., 4.]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """

    n = 3
    keep = {0: (0, 1), 1: (0,)}
    has_aux = True
    gpu = GroupNormRows()

    @staticmethod
    def forward(xp: Any, x: Any, w: Any, b: Any, groups: int, eps: float) -> Any:
        return _channels.normalise_groups(xp, x, w, b, groups, eps)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, w, _), (mean, rstd) = s.inputs, s.aux
        return _channels.group_gradients(xp.np, g, x, w, mean, rstd, s.params[0], s.needs)

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        x, (groups, eps) = s.inputs[0], s.params
        if x is None:
            return cls.gradients(xp, s, g, None, None)
        grouped = xp._reshape(x, (x.shape[0], groups, x.numel() // max(x.shape[0] * groups, 1)))
        normal, rstd = traced_standardise(xp, grouped, (2,), grouped.shape[2], eps)
        return cls.gradients(xp, s, g, xp._reshape(normal, tuple(x.shape)), rstd)

    @staticmethod
    def gradients(xp: Any, s: Any, g: Any, normal: Any, rstd: Any) -> tuple:
        def finish(h: Any) -> Any:
            shape, n = tuple(h.shape), h.shape[0]
            count = 1
            for size in shape[1:]:
                count *= size
            grouped = (n, s.params[0], count // s.params[0])
            gx = input_gradient(xp, xp._reshape(h, grouped), xp._reshape(normal, grouped), rstd, (2,), grouped[2])
            return xp._reshape(gx, shape)

        return _channel_gradients(xp, s, g, normal, finish)

    @staticmethod
    def call(
        input: Tensor,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enabled: bool = True,
    ) -> Tensor:
        shape = expect_tensor(input, "group_norm")._array.shape
        if len(shape) < 2:
            raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {len(shape)}")
        if num_groups <= 0 or shape[1] % num_groups:
            raise RuntimeError(
                "Expected number of channels in input to be divisible by num_groups, but got input of shape "
                f"{list(shape)} and num_groups={num_groups}"
            )
        _check_channels(input, "group_norm", weight=weight, bias=bias)
        return GroupNorm.apply(input, weight, bias, num_groups, eps)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("group_norm", make.uniform((2, 4)), 2, make.uniform((4,)), make.uniform((4,)))
        yield make("group_norm", make.uniform((2, 4, 3)), 4, make.uniform((4,)), make.uniform((4,)), 1e-3)
        yield make("group_norm", make.uniform((2, 4, 2, 3)), 1)


@composite("instance_norm", function=False, method=False, functional=True)
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample over its spatial dimensions; then scale by `weight` and shift by `bias`.

    Shapes: input (N, C, *), all others (C). With `use_input_stats` the running statistics (if given) are updated in
    place by the averages over the samples; otherwise they are used. ValueError for a single value per channel and
    sample. Ulyanov, Vedaldi and Lempitsky 2016.

    >>> nn.functional.instance_norm(torch.tensor([[[1., 3.], [0., 4.]]]))
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]])
    """
    shape = expect_tensor(input, "instance_norm")._array.shape
    if not use_input_stats:
        return BatchNorm.call(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if len(shape) < 3 or input._array.size == shape[0] * shape[1]:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    _check_channels(
        input, "instance_norm", running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    for running, value in ((running_mean, "mean"), (running_var, "var")):
        if running is not None:
            flat = input._array.reshape(*shape[:2], -1)
            batch = flat.mean(-1) if value == "mean" else flat.var(-1, ddof=1)
            _track(running._array, batch.mean(0), momentum)
            running._bump("instance_norm")
    return GroupNorm.apply(input, weight, bias, shape[1], eps)


@samples_for("instance_norm")
def _instance_samples(make: Any) -> Any:
    yield make("instance_norm", make.uniform((2, 3, 4)), _module="nn.functional")
    yield make(
        "instance_norm",
        make.uniform((2, 3, 2, 3)),
        None,
        None,
        make.uniform((3,)),
        make.uniform((3,)),
        _module="nn.functional",
    )
    yield make(
        "instance_norm",
        make.uniform((2, 3, 4)),
        make.uniform((3,), grad=False),
        make.uniform((3,), 0.5, 2, grad=False),
        use_input_stats=False,
        _module="nn.functional",
    )


@composite("local_response_norm", function=False, method=False, functional=True)
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """input / (k + alpha * mean of squares over `size` neighbouring channels) ** beta (Krizhevsky et al. 2012).

    Shape (N, C, *), at least 3-dimensional; ValueError otherwise.

    >>> nn.functional.local_response_norm(torch.ones(1, 2, 1), 2, alpha=1., beta=1.)
    tensor([[[0.6667],
             [0.5000]]])
    """
    shape = expect_tensor(input, "local_response_norm")._array.shape
    if len(shape) < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {len(shape)} dimensions)")
    if not input._array.size:
        return input
    rows = (input * input).reshape(shape[0], 1, shape[1], -1)  # type: ignore[attr-defined, operator]
    padded = CARDS["_pad_constant"].apply(rows, ((0, 0), (0, 0), (size // 2, (size - 1) // 2), (0, 0)), 0.0)
    total = padded[:, :, : shape[1]]
    for i in range(1, size):
        total = total + padded[:, :, i : i + shape[1]]
    return input / (total.reshape(shape) * (alpha / size) + k) ** beta  # type: ignore[operator]


@samples_for("local_response_norm")
def _response_samples(make: Any) -> Any:
    yield make("local_response_norm", make.uniform((2, 4, 3)), 3, alpha=0.5, _module="nn.functional")
    yield make(
        "local_response_norm", make.uniform((1, 4, 2, 2)), 2, alpha=0.5, beta=0.6, k=2.0, _module="nn.functional"
    )
