"""Named matrix products: mm, bmm, mv, dot, outer, the add-to-a-product family, tensordot, kron, cross, distances.

All are `matmul` or pointwise products between checks of shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..tensor import Tensor, check_dim
from .base import CARDS, FUNCTIONS, composite, expect_tensor
from .casting import casting, lower
from .inplace import write_out
from .matmul import Matmul, multiply
from .samples import samples_for


def _out(result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else write_out(out, result)


def _expect_dims(name: str, tensor: Tensor, ndim: int, what: str) -> None:
    if expect_tensor(tensor, name).ndim != ndim:
        raise RuntimeError(f"{what} must be a {'matrix' if ndim == 2 else f'{ndim}D tensor'}, got {tensor.ndim}-D tensor "
                           f"of shape {list(tensor.shape)} ({name}())")


@composite("mm")
def mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of two matrices. RuntimeError for other numbers of dimensions and sizes that do not fit.

    >>> torch.mm(torch.tensor([[1., 2.]]), torch.tensor([[3.], [4.]]))
    tensor([[11.]])
    """
    _expect_dims("mm", input, 2, "self")
    _expect_dims("mm", mat2, 2, "mat2")
    if casting.on and out is None:
        input, mat2 = lower(input, mat2)
    return _out(multiply(input, mat2), out)


@composite("bmm")
def bmm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Products of two batches of matrices, (b, n, k) and (b, k, m). RuntimeError for sizes that do not fit.

    >>> torch.bmm(torch.ones(2, 1, 3), torch.ones(2, 3, 1)).shape
    torch.Size([2, 1, 1])
    """
    a, b = expect_tensor(input, "bmm").shape, expect_tensor(mat2, "bmm", "mat2", 2).shape
    if len(a) != 3 or len(b) != 3:
        raise RuntimeError(f"batch{1 if len(a) != 3 else 2} must be a 3D tensor (bmm() of shapes {list(a)} and {list(b)})")
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, {a[2]}] but got: "
                           f"[{b[0]}, {b[1]}].")
    if casting.on and out is None:
        input, mat2 = lower(input, mat2)
    return _out(multiply(input, mat2), out)


@composite("mv")
def mv(input: Tensor, vec: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of a matrix and a vector.

    >>> torch.mv(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 1.]))
    tensor([3., 7.])
    """
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.ndim}-D matrix and {vec.ndim}-D vector (mv())")
    return _out(multiply(input, vec), out)


def _expect_vectors(name: str, a: Tensor, b: Tensor) -> None:
    expect_tensor(a, name)
    expect_tensor(b, name, "tensor", 2)
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors ({name}())")


@composite("dot")
def dot(input: Tensor, tensor: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The dot product of two vectors.

    >>> torch.dot(torch.tensor([1., 2.]), torch.tensor([3., 4.]))
    tensor(11.)
    """
    _expect_vectors("dot", input, tensor)
    return _out(multiply(input, tensor), out)


@composite("vdot")
def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The dot product of two vectors with the first one conjugated.

    >>> torch.vdot(torch.tensor([1., 2.]), torch.tensor([3., 4.]))
    tensor(11.)
    """
    _expect_vectors("vdot", input, other)
    return _out(multiply(input.conj(), other), out)  # type: ignore[attr-defined]


@composite("inner")
def inner(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The sum of products over the last dimension of both; plain multiplication with a 0-d tensor.

    >>> torch.inner(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 1.]))
    tensor([3., 7.])
    """
    if not input.ndim or not other.ndim:
        return _out(input * other, out)  # type: ignore[operator]
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)} "
                           f"and {list(other.shape)}")
    return _out(tensordot(input, other, dims=([-1], [-1])), out)


@composite("outer", "ger")
def outer(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The outer product of two vectors: element (i, j) is input[i] * vec2[j].

    >>> torch.outer(torch.tensor([1., 2.]), torch.tensor([3., 4.]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    _expect_vectors("outer", input, vec2)
    return _out(input.reshape(-1, 1) * vec2, out)  # type: ignore[attr-defined]


@samples_for("mm")
def _product_samples(make: Any) -> Any:
    yield make("mm", make.uniform((3, 4)), make.uniform((4, 2)))
    yield make("mm", make.uniform((4, 3)).t(), make.uniform((2, 4)).t())
    yield make("bmm", make.uniform((2, 3, 4)), make.uniform((2, 4, 5)))
    yield make("bmm", make.uniform((0, 3, 4)), make.uniform((0, 4, 5)))
    yield make("mv", make.uniform((3, 4)), make.uniform((4,)))
    yield make("dot", make.uniform((4,)), make.uniform((4,)))
    yield make("vdot", make.uniform((4,)), make.uniform((4,)))
    yield make("inner", make.uniform((2, 4)), make.uniform((3, 4)))
    yield make("inner", make.uniform((2, 4)), make.uniform(()))
    yield make("outer", make.uniform((4,)), make.uniform((3,)))


# -- adding to a product ----------------------------------------------------------------------------------------------


def _blend(input: Tensor, multiply: Any, a: Tensor, b: Tensor, beta: Any, alpha: Any, out: Tensor | None) -> Tensor:
    """`beta * input + alpha * multiply(a, b)`; with beta 0 `input` is not read. 16-bit inputs are rounded once, at the end."""
    dtype = input._array.dtype
    if dtype in dtypes.HALVES and a._array.dtype == b._array.dtype == dtype:
        wide = _blend(input.float(), multiply, a.float(), b.float(), beta, alpha, None)  # type: ignore[attr-defined]
        return _out(wide.to(dtype), out)
    product = multiply(a, b)
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return _out(product, out)
    return _out((input if beta == 1 else input * beta) + product, out)  # type: ignore[operator]


def _rounded(input: Tensor, number: Any) -> float:
    """A number as the dtype of `input` holds it."""
    return float(input._array.dtype.type(number))


@composite("addmm", inplace=True)
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`.

    >>> torch.addmm(torch.tensor([1.]), torch.tensor([[1., 2.]]), torch.tensor([[3.], [4.]]))
    tensor([[12.]])
    """
    if casting.on and out is None:
        input, mat1, mat2 = lower(input, mat1, mat2)
    return _blend(input, mm, mat1, mat2, beta, alpha, out)


@composite("addmv", inplace=True)
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """`beta * input + alpha * (mat @ vec)`.

    >>> torch.addmv(torch.tensor([1.]), torch.tensor([[1., 2.]]), torch.tensor([3., 4.]))
    tensor([12.])
    """
    if input._array.dtype in dtypes.HALVES:  # torch rounds the factors, and the first product
        beta, alpha = _rounded(input, beta), _rounded(input, alpha)
        input, beta = (input if beta == 1 else input * beta), float(beta != 0)  # type: ignore[operator]
    return _blend(input, mv, mat, vec, beta, alpha, out)


@composite("addr", inplace=True)
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """`beta * input + alpha * outer(vec1, vec2)`.

    >>> torch.addr(torch.tensor([[1.]]), torch.tensor([2.]), torch.tensor([3.]))
    tensor([[7.]])
    """
    if input._array.dtype in dtypes.HALVES:  # torch rounds the factors, and every product
        product = outer(vec1 * _rounded(input, alpha), vec2)  # type: ignore[operator]
        return _out(input * _rounded(input, beta) + product if beta else product, out)  # type: ignore[operator]
    return _blend(input, outer, vec1, vec2, beta, alpha, out)


@composite("baddbmm", inplace=True)
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1,
            out: Tensor | None = None) -> Tensor:
    """`beta * input + alpha * bmm(batch1, batch2)`.

    >>> torch.baddbmm(torch.ones(1, 1, 1), torch.ones(1, 1, 3), torch.ones(1, 3, 1))
    tensor([[[4.]]])
    """
    if casting.on and out is None:
        input, batch1, batch2 = lower(input, batch1, batch2)
    return _blend(input, bmm, batch1, batch2, beta, alpha, out)


@composite("addbmm", inplace=True)
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1,
           out: Tensor | None = None) -> Tensor:
    """`beta * input + alpha * sum over the batch of batch1 @ batch2`.

    >>> torch.addbmm(torch.ones(1, 1), torch.ones(2, 1, 3), torch.ones(2, 3, 1))
    tensor([[7.]])
    """
    if casting.on and out is None:
        input, batch1, batch2 = lower(input, batch1, batch2)
    return _blend(input, lambda a, b: bmm(a, b).sum(0), batch1, batch2, beta, alpha, out)  # type: ignore[attr-defined]


@samples_for("addmm")
def _add_samples(make: Any) -> Any:
    for options in ({}, {"beta": 0.5, "alpha": 2}, {"beta": 0}):
        yield make("addmm", make.uniform((2,)), make.uniform((3, 4)), make.uniform((4, 2)), **options)
        yield make("addmv", make.uniform((3,)), make.uniform((3, 4)), make.uniform((4,)), **options)
        yield make("addr", make.uniform((3, 4)), make.uniform((3,)), make.uniform((4,)), **options)
        yield make("baddbmm", make.uniform((2, 3, 5)), make.uniform((2, 3, 4)), make.uniform((2, 4, 5)), **options)
        yield make("addbmm", make.uniform((3, 5)), make.uniform((2, 3, 4)), make.uniform((2, 4, 5)), **options)


# -- contractions -----------------------------------------------------------------------------------------------------


@composite("tensordot", method=False)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """The sum of products over `dims`: the last `dims` of `a` with the first of `b`, or two lists of dimensions.

    >>> torch.tensordot(torch.ones(2, 3), torch.ones(3, 4), dims=1).shape
    torch.Size([2, 4])
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got {dims}")
        dims = (list(range(a.ndim - dims, a.ndim)), list(range(dims)))
    left = [check_dim(d, a.ndim) for d in _list(dims[0])]
    right = [check_dim(d, b.ndim) for d in _list(dims[1])]
    if len(left) != len(right):
        raise RuntimeError(f"both dimension lists should have same length, got {len(left)} and {len(right)}")
    for i, j in zip(left, right):
        if a.shape[i] == 1:  # a dimension of one is broadcast: the other is summed
            b = b.sum(j, keepdim=True)  # type: ignore[attr-defined]
        elif b.shape[j] == 1:
            a = a.sum(i, keepdim=True)  # type: ignore[attr-defined]
        elif a.shape[i] != b.shape[j]:
            raise RuntimeError(f"contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and "
                               f"second has size {b.shape[j]} in dim {j}")
    keep_a = [i for i in range(a.ndim) if i not in left]
    keep_b = [i for i in range(b.ndim) if i not in right]
    n = int(np.prod([a.shape[i] for i in left], dtype=np.int64))
    rows = int(np.prod([a.shape[i] for i in keep_a], dtype=np.int64))
    columns = int(np.prod([b.shape[i] for i in keep_b], dtype=np.int64))
    product = Matmul.call(a.permute(*keep_a, *left).reshape(rows, n), b.permute(*right, *keep_b).reshape(n, columns))  # type: ignore[attr-defined]
    return _out(product.reshape([a.shape[i] for i in keep_a] + [b.shape[i] for i in keep_b]), out)  # type: ignore[attr-defined]


def _list(value: Any) -> list:
    return [value] if isinstance(value, int) else list(value)


@samples_for("tensordot")
def _tensordot_samples(make: Any) -> Any:
    yield make("tensordot", make.uniform((2, 3, 4)), make.uniform((3, 4, 5)))
    yield make("tensordot", make.uniform((2, 3)), make.uniform((3, 4)), dims=1)
    yield make("tensordot", make.uniform((2, 3)), make.uniform((4, 5)), dims=0)
    yield make("tensordot", make.uniform((2, 3, 4)), make.uniform((4, 5, 2)), dims=([0, 2], [2, 0]))


@composite("trace")
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal.

    >>> torch.trace(torch.tensor([[1., 2.], [3., 4.]]))
    tensor(5.)
    """
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    n = min(input.shape)
    index = np.arange(n)
    return CARDS["_gather_index"].apply(input, (index, index)).sum()


@composite("kron")
def kron(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The Kronecker product: every element of `input` times all of `other`.

    >>> torch.kron(torch.tensor([1., 2.]), torch.tensor([1., 10.]))
    tensor([ 1., 10.,  2., 20.])
    """
    nd = max(input.ndim, other.ndim)
    a, b = (1,) * (nd - input.ndim) + tuple(input.shape), (1,) * (nd - other.ndim) + tuple(other.shape)
    left = input.reshape([n for size in a for n in (size, 1)])  # type: ignore[attr-defined]
    right = other.reshape([n for size in b for n in (1, size)])  # type: ignore[attr-defined]
    return _out((left * right).reshape([m * n for m, n in zip(a, b)]), out)


@composite("matrix_power")
def matrix_power(input: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """Square matrices multiplied `n` times with themselves, by repeated squaring; for n < 0 their inverses.

    >>> torch.matrix_power(torch.tensor([[1., 1.], [0., 1.]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError("linalg.matrix_power: A must be batches of square matrices, but they are of shape "
                           f"{list(input.shape)}")
    if n < 0:
        input, n = FUNCTIONS["inverse"](input), -n
    result, square = None, input
    while n:
        if n & 1:
            result = square if result is None else Matmul.call(result, square)
        n >>= 1
        square = Matmul.call(square, square) if n else square
    if result is None:
        from ..tensor import wrap

        eye = backend.namespace(input._array).eye(input.shape[-1], dtype=input._array.dtype)
        result = (input * 0) + wrap(eye)  # type: ignore[operator]
    return _out(result, out)


@composite("chain_matmul", method=False)
def chain_matmul(*matrices: Any, out: Tensor | None = None) -> Tensor:
    """The product of several matrices in the order that needs the fewest multiplications.

    >>> torch.chain_matmul(torch.ones(2, 3), torch.ones(3, 4), torch.ones(4, 1))
    tensor([[12.],
            [12.]])
    """
    parts = list(matrices[0]) if len(matrices) == 1 and not isinstance(matrices[0], Tensor) else list(matrices)
    for t in parts:
        if t.ndim != 2:
            raise RuntimeError(f"Tensor dimension is {t.ndim}, expected 2 instead.")
    return _out(multiply_in_best_order(parts), out)


def multiply_in_best_order(parts: Sequence[Tensor]) -> Tensor:
    """Matrix chain multiplication; the order by dynamic programming (Cormen et al., section 15.2)."""
    n = len(parts)
    if n == 1:
        return parts[0]
    sizes = [p.shape[0] for p in parts] + [parts[-1].shape[1]]
    cost, split = {(i, i): 0 for i in range(n)}, {}
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            cost[i, j], split[i, j] = min((cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                                          for k in range(i, j))

    def product(i: int, j: int) -> Tensor:
        return parts[i] if i == j else mm(product(i, split[i, j]), product(split[i, j] + 1, j))

    return product(0, n - 1)


@composite("cross")
def cross(input: Tensor, other: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """The cross product along `dim`, which has 3 elements (by default the first such dimension).

    >>> torch.cross(torch.tensor([1., 0., 0.]), torch.tensor([0., 1., 0.]), dim=0)
    tensor([0., 0., 1.])
    """
    if dim is None:
        shape = np.broadcast_shapes(tuple(input.shape), tuple(other.shape))
        dim = next((i for i, n in enumerate(shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    d = check_dim(dim, max(input.ndim, other.ndim))
    if input.shape[d] != 3 or other.shape[d] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[d]} and "
                           f"{other.shape[d]}")

    def turned(t: Tensor, by: int) -> Tensor:
        index = (slice(None),) * d + (np.array([(i + by) % 3 for i in range(3)]),)
        return CARDS["_gather_index"].apply(t, index)

    return _out(turned(input, 1) * turned(other, 2) - turned(input, 2) * turned(other, 1), out)  # type: ignore[operator]


@samples_for("kron")
def _other_samples(make: Any) -> Any:
    yield make("kron", make.uniform((2, 3)), make.uniform((3, 2)))
    yield make("kron", make.uniform((3,)), make.uniform((3, 2)))
    yield make("matrix_power", make.uniform((3, 3)), 5)
    yield make("matrix_power", make.uniform((2, 2)), -2)
    yield make("matrix_power", make.uniform((2, 3, 3)), 0, _grad=False)
    yield make("chain_matmul", make.uniform((2, 5)), make.uniform((5, 3)), make.uniform((3, 4)))
    yield make("cross", make.uniform((4, 3)), make.uniform((4, 3)), dim=1)
    yield make("cross", make.uniform((3, 4)), make.uniform((3, 4)), dim=0)
    yield make("trace", make.uniform((3, 4)))


@composite("bilinear", method=False, functional=True)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1^T A x2 + b for every matrix A of `weight` (out, in1, in2); inputs (*, in1) and (*, in2).

    >>> torch.nn.functional.bilinear(torch.ones(2, 3), torch.ones(2, 4), torch.ones(5, 3, 4)).shape
    torch.Size([2, 5])
    """
    n_out, n1, n2 = weight.shape
    if input1.shape[-1] != n1 or input2.shape[-1] != n2:
        raise RuntimeError(f"bilinear(): expected inputs of sizes {n1} and {n2}, got {list(input1.shape)} and "
                           f"{list(input2.shape)}")
    left = multiply(input1, weight.permute(1, 0, 2).reshape(n1, n_out * n2))  # type: ignore[attr-defined]
    left = left.reshape(*input1.shape[:-1], n_out, n2)  # type: ignore[attr-defined]
    result = (left * input2.unsqueeze(-2)).sum(-1)  # type: ignore[attr-defined]
    return result if bias is None else result + bias


@samples_for("bilinear")
def _bilinear_samples(make: Any) -> Any:
    yield make("bilinear", make.uniform((2, 3)), make.uniform((2, 4)), make.uniform((5, 3, 4)), make.uniform((5,)))
    yield make("bilinear", make.uniform((6, 2, 3)), make.uniform((6, 2, 4)), make.uniform((5, 3, 4)))
