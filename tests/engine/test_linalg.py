"""engine.linalg: identities, gradients of gauge-invariant functions beside torch and finite differences, errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine

RNG = np.random.default_rng(7)
MATRICES = {
    "real": RNG.normal(size=(2, 4, 4)) + 2 * np.eye(4),
    "complex": RNG.normal(size=(2, 3, 3)) + 1j * RNG.normal(size=(2, 3, 3)) + 2 * np.eye(3),
}
WIDE, TALL = RNG.normal(size=(3, 5)), RNG.normal(size=(5, 3))
COMPLEX_TALL = TALL + 1j * RNG.normal(size=(5, 3))


def adj(x):
    return x.conj().swapaxes(-1, -2)


def definite(lib, x):
    """A positive definite matrix made of any x."""
    return x @ adj(x) + lib.eye(x.shape[-2], dtype=x.dtype)


def near(a, b, tolerance=1e-10):
    np.testing.assert_allclose(np.asarray(a.detach().resolve_conj()), np.asarray(b), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", MATRICES)
def test_factors_multiply_to_the_matrix(kind):
    a = engine.tensor(MATRICES[kind])
    la, values = engine.linalg, MATRICES[kind]
    q, r = la.qr(a)
    p, lower, upper = la.lu(a)
    u, s, vh = la.svd(a)
    w, v = la.eig(a)
    near(q @ r, values)
    near(adj(q) @ q, np.eye(len(values[0])) + 0 * values)
    near(p @ lower @ upper, values)
    near((u * s.unsqueeze(-2)) @ vh, values)
    near(v @ (w.unsqueeze(-1) * la.inv(v)), values)
    near(la.inv(a) @ a, np.eye(len(values[0])) + 0 * values)
    symmetric = definite(engine, a)
    factor = la.cholesky(symmetric)
    near(factor @ adj(factor), symmetric.resolve_conj().numpy())
    w, v = la.eigh(symmetric)
    near((v * w.unsqueeze(-2)) @ adj(v), symmetric.resolve_conj().numpy())
    p = la.pinv(a[..., :2])
    near(a[..., :2] @ p @ a[..., :2], values[..., :2])


def test_large_lu_is_blocked_right():
    values = np.random.default_rng(0).normal(size=(70, 70))
    p, lower, upper = engine.linalg.lu(engine.tensor(values))
    near(p @ lower @ upper, values)
    b = np.random.default_rng(1).normal(size=(70, 2))
    x = engine.linalg.lu_solve(*engine.linalg.lu_factor(engine.tensor(values)), engine.tensor(b))
    near(engine.tensor(values) @ x, b)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("adjoint", [True, False])
def test_lu_solve_sides(left, adjoint):
    a = engine.tensor(MATRICES["complex"])
    b = engine.tensor(COMPLEX_TALL[:3])
    x = engine.linalg.lu_solve(*engine.linalg.lu_factor(a), b, left=left, adjoint=adjoint)
    system = adj(a) if adjoint else a
    near((system @ x if left else x @ system), np.broadcast_to(COMPLEX_TALL[:3], (2, 3, 3)))


def _eigen_function(lib, x):
    w, v = lib.linalg.eigh(definite(lib, x))
    middle = (v * (w.sqrt() * lib.arange(1.0, len(w) + 1, dtype=w.dtype)).to(v.dtype)) @ adj(v)
    return lib.real(middle * middle[..., :1]).sum()


def _eig_function(lib, x):
    w, v = lib.linalg.eig(x)
    order = w.detach().real.argsort()
    w, v = w[order], v[:, order]
    weights = lib.arange(1.0, len(w) + 1, dtype=x.real.dtype)
    return (w.abs() ** 2).sum() + (v[:, 1].abs() ** 4).sum() + (v[0].abs() ** 2 * weights).sum()


def _svd_function(lib, x):
    u, s, vh = lib.linalg.svd(x, full_matrices=False)
    weights = lib.arange(1.0, len(s) + 1, dtype=s.dtype)
    middle = (u * (s.sqrt() * weights).to(u.dtype)) @ vh
    rest = (u * weights.to(u.dtype)) @ adj(u)
    return lib.real(middle * middle[:1]).sum() + lib.real(rest * rest[:1]).sum()


def _full_svd_function(lib, x):
    u, s, vh = lib.linalg.svd(x)
    k = len(s)
    return (u[:, :k].abs() ** 4).sum() + (vh[:k].abs() ** 4).sum() + s.sum()


FUNCTIONS = {
    "cholesky": lambda lib, x: lib.linalg.cholesky(definite(lib, x)).abs().sum(),
    "cholesky_upper": lambda lib, x: lib.linalg.cholesky(definite(lib, x), upper=True)[..., 0, :].abs().sqrt().sum(),
    "cholesky_solve": lambda lib, x: lib.real(lib.cholesky_solve(x, lib.linalg.cholesky(definite(lib, x)))).sum(),
    "eigh": _eigen_function,
    "eigvalsh": lambda lib, x: (lib.linalg.eigvalsh(definite(lib, x)).log() ** 2).sum(),
    "eig": _eig_function,
    "eigvals": lambda lib, x: (lib.linalg.eigvals(x) ** 3).abs().sum(),
    "svd": _svd_function,
    "svd_full": _full_svd_function,
    "old_svd": lambda lib, x: (lib.svd(x)[2].abs() ** 4).sum(),
    "nuclear": lambda lib, x: lib.linalg.matrix_norm(x, "nuc") ** 2,
    "qr": lambda lib, x: (lib.linalg.qr(x)[0].abs() ** 3).sum() + (lib.linalg.qr(x)[1].abs() ** 2).sum(),
    "lu": lambda lib, x: sum((f.abs() ** 3).sum() for f in lib.linalg.lu(x)[1:]),
    "lu_solve": lambda lib, x: lib.linalg.lu_solve(*lib.linalg.lu_factor(x), x[:, :1] ** 2, adjoint=True).abs().sum(),
    "lstsq": lambda lib, x: (lib.linalg.lstsq(x, x[:, :1] ** 3)[0].abs() ** 2).sum(),
    "pinv_hermitian": lambda lib, x: (lib.linalg.pinv(definite(lib, x), hermitian=True).abs() ** 2).sum(),
    "cond": lambda lib, x: lib.linalg.cond(x),
    "cond_norms": lambda lib, x: lib.linalg.cond(x, 1) + lib.linalg.cond(x, "fro"),
    "logdet": lambda lib, x: lib.real(lib.logdet(definite(lib, x))) ** 2,
    "slogdet_sign": lambda lib, x: lib.real(lib.linalg.slogdet(x)[0]) + lib.linalg.slogdet(x)[1],
    "tensorinv": lambda lib, x: (lib.linalg.tensorinv(x, 1).abs() ** 2).sum(),
    "multi_dot": lambda lib, x: lib.linalg.multi_dot([x[0], adj(x), x, x[0].conj()]).abs(),
    "matrix_power": lambda lib, x: (lib.linalg.matrix_power(x, -2).abs() ** 2).sum(),
    "vecdot": lambda lib, x: lib.linalg.vecdot(x, x * x, dim=0).abs().sum(),
}  # fmt: skip
SQUARE_ONLY = {"eig", "eigvals", "lu_solve", "cond", "cond_norms", "slogdet_sign", "tensorinv", "matrix_power"}
INPUTS = {"real": MATRICES["real"][0], "complex": MATRICES["complex"][0], "tall": TALL, "wide": WIDE,
          "complex_tall": COMPLEX_TALL}
REPEATED = {("eigh", "tall"), ("eigh", "complex_tall")}  # eigenvalues that coincide: vectors have no derivative
GRADIENT_CASES = [(f, i) for f in FUNCTIONS for i in INPUTS
                  if (f not in SQUARE_ONLY or i in ("real", "complex")) and (f, i) not in REPEATED]


def gradient(lib, name, values):
    x = lib.tensor(values, requires_grad=True)
    y = FUNCTIONS[name](lib, x)
    (g,) = lib.autograd.grad(y, x)
    return y.item(), g


@pytest.mark.parametrize(("name", "which"), GRADIENT_CASES)
def test_gradients_are_torchs(name, which):
    torch = pytest.importorskip("torch")
    if name == "cond_norms":
        pytest.skip("torch 2.13 cannot differentiate cond() of these orders")
    value, g = gradient(engine, name, INPUTS[which])
    expected, theirs = gradient(torch, name, INPUTS[which])
    assert value == pytest.approx(expected, rel=1e-9)
    near(g, theirs.resolve_conj().numpy(), 1e-7)


@pytest.mark.parametrize(("name", "which"), GRADIENT_CASES)
def test_gradients_and_second_gradients_are_finite_differences(name, which):
    values = INPUTS[which]
    direction = np.random.default_rng(1).normal(size=values.shape).astype(values.dtype)
    eps = 1e-6

    def slope(at, create_graph=False):
        x = engine.tensor(at, requires_grad=True)
        (g,) = engine.autograd.grad(FUNCTIONS[name](engine, x), x, create_graph=create_graph)
        return x, engine.real(g * engine.tensor(direction).conj()).sum()

    def value(at):
        return FUNCTIONS[name](engine, engine.tensor(at)).item()

    x, first = slope(values, create_graph=True)
    numeric = (value(values + eps * direction) - value(values - eps * direction)) / (2 * eps)
    assert first.item() == pytest.approx(numeric, rel=1e-5, abs=1e-6)
    (second,) = engine.autograd.grad(first, x)
    curve = engine.real(second * engine.tensor(direction).conj()).sum().item()
    numeric = (slope(values + eps * direction)[1] - slope(values - eps * direction)[1]).item() / (2 * eps)
    assert curve == pytest.approx(numeric, rel=1e-4, abs=1e-5)


ERRORS = {
    "inv": lambda lib: lib.linalg.inv(lib.ones(2, 2)),
    "inv_batch": lambda lib: lib.linalg.inv(lib.zeros(3, 2, 2)),
    "solve": lambda lib: lib.linalg.solve(lib.zeros(2, 2), lib.ones(2)),
    "cholesky": lambda lib: lib.linalg.cholesky(lib.tensor([[1.0, 0.0], [0.0, -1.0]])),
    "cholesky_batch": lambda lib: lib.linalg.cholesky(-lib.eye(3).expand(2, 3, 3)),
    "svd_nan": lambda lib: lib.linalg.svd(lib.full((2, 2), float("nan"))),
}
MISUSES = {
    "not square": lambda lib: lib.linalg.inv(lib.ones(2, 3)),
    "vector": lambda lib: lib.linalg.det(lib.ones(3)),
    "integers": lambda lib: lib.linalg.inv(lib.ones(2, 2, dtype=lib.int64)),
    "sizes": lambda lib: lib.linalg.solve(lib.eye(2), lib.ones(3, 1)),
    "qr mode": lambda lib: lib.linalg.qr(lib.eye(2), "all"),
    "order": lambda lib: lib.linalg.matrix_norm(lib.eye(2), 7),
    "dims": lambda lib: lib.linalg.matrix_norm(lib.eye(2), dim=(0, 0)),
    "cross": lambda lib: lib.linalg.cross(lib.ones(2), lib.ones(2)),
    "uplo": lambda lib: lib.linalg.eigh(lib.eye(2), "X"),
    "qr r": lambda lib: lib.linalg.qr(lib.eye(2, requires_grad=True), "r")[1].sum().backward(),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_does_not_exist_is_a_linalg_error(name):
    torch = pytest.importorskip("torch")
    with pytest.raises(torch.linalg.LinAlgError) as theirs:
        ERRORS[name](torch)
    with pytest.raises(engine.linalg.LinAlgError) as ours:
        ERRORS[name](engine)
    assert str(theirs.value).split(":")[0] == str(ours.value).split(":")[0]
    assert issubclass(engine.linalg.LinAlgError, RuntimeError)


@pytest.mark.parametrize("name", ["inv", "inv_batch", "cholesky", "cholesky_batch"])
def test_the_error_says_which_matrix_and_where(name):
    torch = pytest.importorskip("torch")
    with pytest.raises(torch.linalg.LinAlgError) as theirs:
        ERRORS[name](torch)
    with pytest.raises(engine.linalg.LinAlgError) as ours:
        ERRORS[name](engine)
    assert str(theirs.value) == str(ours.value)


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_raises_what_torch_raises(name):
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as theirs:
        MISUSES[name](torch)
    with pytest.raises(theirs.type) as ours:
        MISUSES[name](engine)
    words = str(theirs.value).split("\n")[0]
    assert set(words.split()) & set(str(ours.value).split())


def test_the_ex_forms_report_instead_of_raising():
    a = engine.stack([engine.eye(2), engine.zeros(2, 2)])
    inverse, info = engine.linalg.inv_ex(a)
    assert info.tolist() == [0, 1] and info.dtype is engine.int32
    assert inverse[0].tolist() == [[1, 0], [0, 1]] and inverse[1].isnan().all()
    assert engine.linalg.solve_ex(a, engine.ones(2, 2, 1)).info.tolist() == [0, 1]
    lower, info = engine.linalg.cholesky_ex(a)
    assert info.tolist() == [0, 1] and lower[0].tolist() == [[1, 0], [0, 1]]
    with pytest.raises(engine.linalg.LinAlgError):
        engine.linalg.cholesky_ex(a, check_errors=True)
    assert engine.linalg.lu_factor_ex(a).info.tolist() == [0, 1]


@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss", None])
def test_lstsq_beside_torch(driver):
    torch = pytest.importorskip("torch")
    for a, b in ((TALL, TALL[:, :2] ** 2), (WIDE, WIDE[:, :2])):
        ours = engine.linalg.lstsq(engine.tensor(a), engine.tensor(b), driver=driver)
        theirs = torch.linalg.lstsq(torch.tensor(a), torch.tensor(b), driver=driver)
        for mine, other in zip(ours, theirs):
            assert tuple(mine.shape) == tuple(other.shape) and str(mine.dtype) == str(other.dtype)
            near(mine, other.numpy(), 1e-9)


def test_results_have_names_and_dtypes():
    a = engine.eye(2)
    assert engine.linalg.svd(a)._fields == ("U", "S", "Vh")
    assert engine.linalg.eigh(a)._fields == ("eigenvalues", "eigenvectors")
    assert engine.linalg.eigvals(a).dtype is engine.complex64
    assert engine.linalg.lu_factor(a).pivots.dtype is engine.int32
    assert engine.linalg.matrix_rank(a).dtype is engine.int64
    out = engine.empty(2, 2)
    assert engine.linalg.inv(a, out=out) is out and out.tolist() == [[1, 0], [0, 1]]
