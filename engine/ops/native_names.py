"""torch's names for the insides of its layers (`native_layer_norm`, `convolution`, ...), as calls of the public operators.

Programs that were traced or written against ATen use them. They return what torch's kernels return besides the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from .base import FUNCTIONAL, FUNCTIONS, composite

_INTERPOLATION, _PADDING = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
_BAG_MODES = ("sum", "mean", "max")


def _here(name: str) -> Callable[[Callable], Callable]:
    """Install as `torch.<name>`, not as a method."""
    return composite(name, method=False)


@_here("constant_pad_nd")
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """`nn.functional.pad` with a constant.

    >>> torch.constant_pad_nd(torch.ones(1), (1, 1))
    tensor([0., 1., 0.])
    """
    return FUNCTIONAL["pad"](input, pad, "constant", value)


@_here("convolution")
def convolution(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, transposed: bool,
                output_padding: Any, groups: int) -> Tensor:
    """`conv1d` to `conv3d`, or with `transposed` their adjoints, by the number of dimensions.

    >>> torch.convolution(torch.ones(1, 1, 3), torch.ones(1, 1, 2), None, [1], [0], [1], False, [0], 1)
    tensor([[[2., 2.]]])
    """
    n = weight.ndim - 2
    if transposed:
        return FUNCTIONS[f"conv_transpose{n}d"](input, weight, bias, stride, padding, output_padding, groups, dilation)
    return FUNCTIONS[f"conv{n}d"](input, weight, bias, stride, padding, dilation, groups)


@_here("conv_tbc")
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """`conv1d` of input (time, batch, channels) with weight (kernel, channels in, channels out).

    >>> torch.conv_tbc(torch.ones(3, 1, 1), torch.ones(2, 1, 1), torch.zeros(1)).flatten()
    tensor([2., 2.])
    """
    out = FUNCTIONS["conv1d"](input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)  # type: ignore[attr-defined]
    return out.permute(2, 0, 1)


@_here("grid_sampler")
def grid_sampler(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    """`nn.functional.grid_sample` with its modes as numbers: 0 to 2, in the order of the documentation there.

    >>> torch.grid_sampler(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 1, 2), 0, 0, False)
    tensor([[[[1.]]]])
    """
    return FUNCTIONAL["grid_sample"](input, grid, _INTERPOLATION[interpolation_mode], _PADDING[padding_mode], align_corners)


def _of_dimension(n: int) -> None:
    @_here(f"grid_sampler_{n}d")
    def sampler(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
        if input.ndim != n + 2:
            raise RuntimeError(f"grid_sampler_{n}d(): expected {n + 2}D input, got shape {list(input.shape)}")
        return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)

    sampler.__doc__ = f"`grid_sampler` for {n} dimensions.\n\n    >>> callable(torch.grid_sampler_{n}d)\n    True\n    "


_of_dimension(2)
_of_dimension(3)


@_here("affine_grid_generator")
def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """`nn.functional.affine_grid`.

    >>> torch.affine_grid_generator(torch.eye(2, 3)[None], (1, 1, 1, 1), False)
    tensor([[[[0., 0.]]]])
    """
    return FUNCTIONAL["affine_grid"](theta, size, align_corners)


# -- normalisation ----------------------------------------------------------------------------------------------------


def _moments(input: Tensor, dims: list[int], eps: float) -> tuple[Tensor, Tensor]:
    """The mean and one over the standard deviation, dimensions kept."""
    x = input.detach()
    mean = x.mean(dims, keepdim=True)  # type: ignore[attr-defined]
    return mean, (x.var(dims, correction=0, keepdim=True) + eps).rsqrt()  # type: ignore[attr-defined]


@_here("native_layer_norm")
def native_layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None,
                      eps: float) -> tuple:
    """(`layer_norm`, the means, one over the standard deviations).

    >>> torch.native_layer_norm(torch.tensor([[1., 3.]]), (2,), None, None, 0.)[1]
    tensor([[2.]])
    """
    dims = list(range(-len(normalized_shape), 0))
    return (FUNCTIONAL["layer_norm"](input, normalized_shape, weight, bias, eps), *_moments(input, dims, eps))


@_here("native_group_norm")
def native_group_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int,
                      eps: float) -> tuple:
    """(`group_norm`, the means (N, groups), one over the standard deviations).

    >>> torch.native_group_norm(torch.tensor([[1., 3.]]), None, None, 1, 2, 1, 1, 0.)[1]
    tensor([[2.]])
    """
    mean, rstd = _moments(input.reshape(N, group, -1), [2], eps)  # type: ignore[attr-defined]
    return FUNCTIONAL["group_norm"](input, group, weight, bias, eps), mean.squeeze(-1), rstd.squeeze(-1)  # type: ignore[attr-defined]


@_here("native_batch_norm")
def native_batch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
                      running_var: Tensor | None, training: bool, momentum: float, eps: float) -> tuple:
    """(`batch_norm`, the batch's means, one over its standard deviations); the latter two are empty unless `training`.

    >>> torch.native_batch_norm(torch.tensor([[1.], [3.]]), None, None, None, None, True, 0.1, 0.)[1]
    tensor([2.])
    """
    dims = [0, *range(2, input.ndim)]
    found = _moments(input, dims, eps) if training else (input.new_empty(0), input.new_empty(0))  # type: ignore[attr-defined]
    out = FUNCTIONAL["batch_norm"](input, running_mean, running_var, weight, bias, training, momentum, eps)
    return (out, *[t.reshape(-1) for t in found])  # type: ignore[attr-defined]


# -- the rest ---------------------------------------------------------------------------------------------------------


@_here("native_dropout")
def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple:
    """(`dropout`, what was kept).

    >>> torch.native_dropout(torch.ones(2), 0.0, True)
    (tensor([1., 1.]), tensor([True, True]))
    """
    if train is False or p == 0:
        return input.clone(), input.new_ones(input.shape, dtype=None).bool()  # type: ignore[attr-defined]
    kept = FUNCTIONAL["dropout"](input.new_ones(input.shape), p, True)  # type: ignore[attr-defined]
    return input * kept, kept != 0  # type: ignore[operator]


@_here("native_channel_shuffle")
def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """`nn.functional.channel_shuffle`.

    >>> torch.native_channel_shuffle(torch.arange(4.).reshape(1, 4, 1, 1), 2).flatten()
    tensor([0., 2., 1., 3.])
    """
    return FUNCTIONAL["channel_shuffle"](input, groups)


@_here("frobenius_norm")
def frobenius_norm(input: Tensor, dim: Any, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The root of the sum of squares over `dim`: the old name of `linalg.vector_norm`.

    >>> torch.frobenius_norm(torch.tensor([[3., 4.]]), [0, 1])
    tensor(5.)
    """
    return FUNCTIONS["norm"](input, 2, dim or None, keepdim, out=out)


@_here("nuclear_norm")
def nuclear_norm(input: Tensor, dim: Any = (-2, -1), keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The sum of the singular values: the old name of `linalg.matrix_norm(ord="nuc")`.

    >>> torch.nuclear_norm(torch.tensor([[3., 0.], [0., 4.]]))
    tensor(7.)
    """
    return FUNCTIONS["norm"](input, "nuc", dim, keepdim, out=out)


@_here("embedding_renorm_")
def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scale the rows of `input` named by `indices` down to `max_norm`, in place.

    >>> torch.embedding_renorm_(torch.tensor([[3., 4.], [6., 8.]]), torch.tensor([1]), 5.0, 2.0)
    tensor([[3., 4.],
            [3., 4.]])
    """
    rows = indices.unique()  # type: ignore[attr-defined]
    norms = input.detach()[rows].norm(norm_type, -1, keepdim=True)  # type: ignore[index]
    scale = (max_norm / (norms + 1e-7)).masked_fill(norms <= max_norm, 1.0)
    input[rows] = input[rows] * scale  # type: ignore[index]
    return input


@_here("embedding_bag")
def embedding_bag(weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
                  sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
                  padding_idx: int | None = None) -> tuple:
    """`nn.functional.embedding_bag` with the mode as a number (0 sum, 1 mean, 2 max): (result, the bag of every index,
    the sizes of the bags, and for "max" the row that each element came from).

    >>> torch.embedding_bag(torch.tensor([[1.], [2.]]), torch.tensor([0, 1]), torch.tensor([0]))[0]
    tensor([[3.]])
    """
    result = FUNCTIONAL["embedding_bag"](indices, weight, offsets, None, 2, scale_grad_by_freq, _BAG_MODES[mode], sparse,
                                         per_sample_weights, include_last_offset, padding_idx)
    ends = offsets[1:] if include_last_offset else FUNCTIONS["cat"]([offsets[1:], offsets.new_tensor([len(indices)])])  # type: ignore[index, attr-defined, arg-type]
    sizes = ends - (offsets[:-1] if include_last_offset else offsets)  # type: ignore[index, operator]
    bags = FUNCTIONS["arange"](len(sizes)).repeat_interleave(sizes)
    if mode != 2:
        return result, bags, sizes, offsets.new_zeros(result.shape[:1])  # type: ignore[attr-defined]
    hits = (weight.detach()[indices] == result.detach()[bags])  # type: ignore[index]
    rows = [indices[bags == i][hits[bags == i].int().argmax(0)] for i in range(len(sizes))]  # type: ignore[index, attr-defined]
    return result, bags, sizes, FUNCTIONS["stack"](rows)


@_here("segment_reduce")
def segment_reduce(data: Tensor, reduce: str, *, lengths: Tensor | None = None, indices: Tensor | None = None,
                   offsets: Tensor | None = None, axis: int = 0, unsafe: bool = False, initial: Any = None) -> Tensor:
    """Sum, mean, product, minimum or maximum of consecutive pieces of `data` along its first dimension.

    `lengths` gives the sizes of the pieces, or `offsets` where each begins and the last ends. An empty piece gives
    `initial`, by default what leaves the reduction unchanged (NaN for the mean).

    >>> torch.segment_reduce(torch.tensor([1., 2., 3.]), "sum", lengths=torch.tensor([1, 2]))
    tensor([1., 5.])
    """
    if axis != 0 or indices is not None:
        raise RuntimeError("segment_reduce(): only axis=0 with lengths or offsets is supported.")
    if offsets is not None:
        lengths = offsets[1:] - offsets[:-1]  # type: ignore[index, operator]
    if lengths is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    sizes = lengths.tolist()
    if sum(sizes) != data.shape[0] and not unsafe:
        raise RuntimeError(f"segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) "
                           f"when !unsafe, got {sum(sizes)} and {data.shape[0]}.")
    empty = {"sum": 0.0, "mean": float("nan"), "prod": 1.0, "max": -float("inf"), "min": float("inf")}[reduce]
    start = empty if initial is None else initial
    pieces = [_reduced(piece, reduce, start, initial is not None) for piece in data.split(sizes)]  # type: ignore[attr-defined]
    return FUNCTIONS["stack"](pieces)


def _reduced(piece: Tensor, reduce: str, start: float, given: bool) -> Tensor:
    if not piece.shape[0]:
        return piece.new_full(piece.shape[1:], start)  # type: ignore[attr-defined]
    if reduce in ("max", "min"):
        found = getattr(piece, "a" + reduce)(0)
        return found.clamp(**{"min" if reduce == "max" else "max": start}) if given else found
    if reduce == "prod":
        return piece.prod(0) * start  # type: ignore[attr-defined]
    total = piece.sum(0) + (start if given else 0)  # type: ignore[attr-defined]
    return total / piece.shape[0] if reduce == "mean" else total


@_here("fake_quantize_per_tensor_affine")
def fake_quantize_per_tensor_affine(input: Tensor, scale: Any, zero_point: Any, quant_min: int, quant_max: int) -> Tensor:
    """`input` rounded to multiples of `scale` and clamped to the integers from `quant_min` to `quant_max`, as floats.

    The gradient passes where nothing was clamped (Jacob et al. 2018).

    >>> torch.fake_quantize_per_tensor_affine(torch.tensor([0.26, 9.]), 0.1, 0, 0, 20)
    tensor([0.3000, 2.0000])
    """
    detached = input.detach()
    levels = (detached * (1 / scale) if not isinstance(scale, Tensor) else detached / scale).round() + zero_point  # type: ignore[attr-defined, operator]
    inside = (levels >= quant_min) & (levels <= quant_max)
    value = (levels.clamp(quant_min, quant_max) - zero_point) * scale
    return value + (input - detached) * inside  # type: ignore[operator]


@_here("fake_quantize_per_channel_affine")
def fake_quantize_per_channel_affine(input: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int,
                                     quant_max: int) -> Tensor:
    """`fake_quantize_per_tensor_affine` with a scale and a zero point per index of dimension `axis`.

    >>> torch.fake_quantize_per_channel_affine(torch.ones(2), torch.tensor([1., 0.4]), torch.zeros(2), 0, 0, 9)
    tensor([1.0000, 0.8000])
    """
    shape = [1] * input.ndim
    shape[axis] = -1
    return fake_quantize_per_tensor_affine(input, scale.reshape(shape), zero_point.reshape(shape), quant_min, quant_max)  # type: ignore[attr-defined]
