"""The parametrizations that torch brings: orthogonal matrices, weight and spectral normalisation."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import engine
from engine import backend
from engine.nn import functional as F
from engine.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from engine.nn.module import Module
from engine.nn.utils.parametrize import register_parametrization
from engine.tensor import Tensor, wrap

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

_MAPS = ("matrix_exp", "cayley", "householder")


def _reflectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """LAPACK's ``geqrf``: R above the diagonal, the reflectors' tails below it, and their factors tau."""
    a = matrix._array
    raw, tau = backend.namespace(a).linalg.qr(a, mode="raw")
    return wrap(raw.swapaxes(-1, -2).copy()), wrap(tau)


def _orthonormal(matrix: Tensor) -> Tensor:
    """The Q of a tall matrix = QR with a positive diagonal of R."""
    packed, tau = _reflectors(matrix)
    return engine.linalg.householder_product(packed, tau) * packed.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def _is_orthogonal(q: Tensor) -> bool:
    identity = engine.eye(q.size(-1), dtype=q.dtype, device=q.device)
    return engine.allclose(q.mH @ q, identity, atol=10.0 * q.size(-2) * engine.finfo(q.dtype).eps)


class _Orthogonal(Module):
    """A free matrix to one with orthonormal columns (rows, if it is wide): Lezcano-Casado 2019, arXiv:1909.09501."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.size(-2) < X.size(-1)
        X = X.mT if wide else X
        Q = self._reflected(X) if self.orthogonal_map == "householder" else self._rotated(X)
        base = getattr(self, "base", None)
        Q = Q if base is None else base @ Q
        return Q.mT if wide else Q

    def _rotated(self, X: Tensor) -> Tensor:
        """Of the skew-symmetric matrix made of the lower triangle: its exponential, or its Cayley transform."""
        n, k = X.shape[-2:]
        X = X.tril()
        if n != k:
            X = engine.cat([X, X.new_zeros(*X.shape[:-1], n - k)], dim=-1)
        A = X - X.mH
        if self.orthogonal_map == "matrix_exp":
            Q = engine.matrix_exp(A)
        else:
            identity = engine.eye(n, dtype=A.dtype, device=A.device)
            Q = engine.linalg.solve(identity - A / 2, identity + A / 2)
        return Q if n == k else Q[..., :k]

    def _reflected(self, X: Tensor) -> Tensor:
        """The product of the reflections whose directions are the columns below the diagonal."""
        A = X.tril(diagonal=-1)
        tau = 2.0 / (1.0 + (A * A).sum(dim=-2))
        signs = X.detach().diagonal(dim1=-2, dim2=-1).trunc().unsqueeze(-2)  # 1 and -1; not trained
        return engine.linalg.householder_product(A, tau) * signs

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}.")
        with engine.no_grad():
            wide = Q.size(-2) < Q.size(-1)
            tall = Q.mT if wide else Q
            if hasattr(self, "base"):
                self.base = self._completed(tall)
                return -engine.eye(*Q.shape[-2:], dtype=Q.dtype, device=Q.device).expand(Q.shape).clone()
            if self.orthogonal_map != "householder":
                raise NotImplementedError("It is not possible to assign to the matrix exponential or the Cayley "
                                          "parametrizations when use_trivialization=False.")
            A, tau = _reflectors(tall)
            signs = A.diagonal(dim1=-2, dim2=-1)
            signs.sign_()
            signs[tau == 0.0] *= -1  # LAPACK left this column as it was
            return A.mT if wide else A

    @staticmethod
    def _completed(Q: Tensor) -> Tensor:
        """A square orthogonal matrix that starts with the columns of `Q`, made orthonormal."""
        n, k = Q.shape[-2:]
        if n != k:
            more = engine.randn(*Q.shape[:-2], n, n - k, dtype=Q.dtype, device=Q.device)
            return _orthonormal(engine.cat([Q, more], dim=-1))
        return Q.clone() if _is_orthogonal(Q) else _orthonormal(Q)


def _tensor_of(module: Module, name: str) -> Tensor:
    tensor = getattr(module, name, None)
    if not isinstance(tensor, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return tensor


def orthogonal(module: Module, name: str = "weight", orthogonal_map: str | None = None, *,
               use_trivialization: bool = True) -> Module:
    """Keep the matrix `name` orthogonal (unitary if complex): orthonormal columns, or rows if it is wide.

    Args:
        orthogonal_map: ``"matrix_exp"`` or ``"cayley"`` of a skew-symmetric matrix, or ``"householder"`` reflections;
            default: matrix_exp for square or complex matrices, householder otherwise.
        use_trivialization: whether to multiply by a fixed orthogonal matrix, so that training starts from the present value
            (Lezcano-Casado 2019, arXiv:1909.09501).

    Raises:
        ValueError: for an unknown map, a tensor of fewer than two dimensions, or complex reflections.

    Example::

        >>> layer = nn.utils.parametrizations.orthogonal(nn.Linear(20, 40))
        >>> layer
        ParametrizedLinear(
          in_features=20, out_features=40, bias=True
          (parametrizations): ModuleDict(
            (weight): ParametrizationList(
              (0): _Orthogonal()
            )
          )
        )
        >>> torch.allclose(layer.weight.T @ layer.weight, torch.eye(20), atol=1e-5)
        True
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}')
    parametrization = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, parametrization, unsafe=True)


class _WeightNorm(Module):
    """(length, direction) to a weight."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / engine.norm_except_dim(weight_v, 2, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return engine.norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """Train the parameter `name` as a length (``original0``) times a direction (``original1``).

    Salimans and Kingma 2016, arXiv:1602.07868. Reads state dicts of the older `nn.utils.weight_norm`, too.

    Args:
        dim: dimension along which each slice has a length of its own; None: one length for the whole weight.

    Example::

        >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(20, 40))
        >>> layer.parametrizations.weight.original0.shape
        torch.Size([40, 1])
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename_old_keys(state_dict: MutableMapping, prefix: str, *rest: Any) -> None:
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename_old_keys)
    return module


class _SpectralNorm(Module):
    """A weight divided by its largest singular value, which power iteration follows."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError("Dimension out of range (expected to be in range of "
                             f"[-{weight.ndim}, {weight.ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError("Expected n_power_iterations to be positive, but got "
                             f"n_power_iterations={n_power_iterations}")
        self.dim = dim % weight.ndim
        self.eps = eps
        if weight.ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._matrix(weight.detach())
            for buffer, size in zip(("_u", "_v"), matrix.shape):
                self.register_buffer(buffer, F.normalize(matrix.new_empty(size).normal_(0, 1), dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    def _iterate(self, matrix: Tensor, steps: int) -> None:
        with engine.no_grad():
            for _ in range(steps):
                self._u.copy_(F.normalize(matrix @ self._v, dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.mH @ self._u, dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the graph keeps these, and the next step changes the buffers
        return weight / engine.vdot(u, matrix @ v)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None) -> Module:
    """Divide the parameter `name` by its largest singular value (Miyato et al. 2018, arXiv:1802.05957).

    In training, each time the weight is read moves the buffers ``_u`` and ``_v`` by `n_power_iterations` steps.

    Args:
        eps: smallest norm that is divided by.
        dim: dimension of the outputs; default 1 for transposed convolutions, else 0.

    Raises:
        ValueError: if there is no such tensor or `n_power_iterations` is not positive.

    Example::

        >>> layer = nn.utils.parametrizations.spectral_norm(nn.Linear(20, 40))
        >>> bool(torch.linalg.matrix_norm(layer.weight, 2) < 1.1)
        True
    """
    weight = _tensor_of(module, name)
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
