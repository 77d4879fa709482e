"""The stand-in's functions: NumPy's, as far as CuPy has them, with CuPy's parameters and element types."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import capture, state
from .arrays import arrays_in, is_bfloat16, ndarray, own, rewrap, same_device, unwrap
from .surface import RECORD, binder

# What gives something to the host and therefore waits for the device.
WAITING = {"nonzero", "flatnonzero", "argwhere", "unique", "unique_values", "unique_counts", "unique_inverse", "unique_all",
           "array_equal", "array_equiv", "bincount", "histogram", "histogramdd", "histogram2d", "extract", "compress",
           "setdiff1d", "union1d", "intersect1d", "trim_zeros", "lexsort_", "place"}
TAKES_HOST = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "asnumpy"}
FOUR_TYPES = {"cholesky", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "pinv", "qr", "slogdet", "solve", "svd",
              "tensorinv", "tensorsolve", "matrix_rank", "cond"}
BLAS = {"matmul", "dot", "tensordot", "vdot", "inner", "outer_", "einsum"}


def loop_of(types: list[str], args: Any) -> tuple[list, list]:
    """The first loop of a ufunc that takes the arguments, as CuPy looks for it: (input dtypes, output dtypes)."""
    order = "biufc"
    kinds = [order.find(a.dtype.kind) if a.dtype.kind in order else 3 for a in args if hasattr(a, "dtype")]
    strongest = max(kinds, default=-1)
    # a Python number of a higher kind than all arrays counts as the default type of its kind
    args = [a if hasattr(a, "dtype") or order.find(np.asarray(a).dtype.kind) <= strongest or isinstance(a, bool)
            else np.asarray(a)[()] for a in args]
    for loop in types:
        ins, outs = loop.split("->")
        dtypes = [_dtype(c) for c in ins]
        if all(_fits(a, d) for a, d in zip(args, dtypes)):
            return dtypes, [_dtype(c) for c in outs]
    raise TypeError(f"Wrong type ({[getattr(a, 'dtype', type(a)) for a in args]}) of arguments")


def _dtype(letter: str) -> Any:
    if letter == "E":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(letter)


def _fits(arg: Any, dtype: Any) -> bool:
    if hasattr(arg, "dtype"):
        return np.can_cast(arg.dtype, dtype)
    try:
        return np.result_type(type(arg)(0), dtype) == dtype
    except TypeError:
        return False


class ufunc:  # noqa: N801 - CuPy's name
    """`cupy.ufunc`: elementwise, for the loops that the real one has."""

    def __init__(self, name: str, types: list[str]) -> None:
        self.name, self.types = f"cupy_{name}", types
        self.__name__ = name
        self.np = getattr(np, name)
        self.nin, self.nout = (len(part) for part in types[0].split("->"))

    def __call__(self, *args: Any, out: Any = None, where: Any = None, dtype: Any = None, casting: str = "same_kind",
                 **other: Any) -> Any:
        if other:
            raise TypeError(f"Wrong arguments {other}")
        if len(args) > self.nin:
            args, out = args[: self.nin], args[self.nin]
        same_device(*args, out)
        unwrap(list(args))
        outs = out if isinstance(out, tuple) else (out,)
        if dtype is not None:
            kinds = [t.split("->") for t in self.types if _dtype(t.split("->")[1][0]) == np.dtype(dtype)]
            if not kinds:
                raise TypeError(f"No viable type signature found for {self.name} as {dtype}")
            ins, made = [_dtype(c) for c in kinds[0][0]], [_dtype(c) for c in kinds[0][1]]
        else:
            ins, made = loop_of(self.types, args)
        recording = capture.about_to(arrays_in([args, outs, where], []))
        plain = unwrap(list(args))

        def compute() -> list[np.ndarray]:
            typed = [np.asarray(a).astype(d, copy=False) for a, d in zip(plain, ins)]
            with np.errstate(all="ignore"):
                results = self.np(*typed)
            results = results if isinstance(results, tuple) else (results,)
            return [np.asarray(r).astype(d, copy=False) for r, d in zip(results, made)]

        finished = [self._finish(r, o, where, casting) for r, o in zip(compute(), (*outs, None))]
        if recording is not None:
            chosen, memory = True if where is None else unwrap(where), [f._a for f in finished]
            recording.calls.append(lambda: [np.copyto(m, r, casting="unsafe", where=chosen)
                                            for m, r in zip(memory, compute())])
        return tuple(finished) if self.nout > 1 else finished[0]

    def _finish(self, result: np.ndarray, out: Any, where: Any, casting: str) -> ndarray:
        if out is None:
            if where is not None:
                raise NotImplementedError("the stand-in has where= only together with out=")
            return own(result)
        if not isinstance(out, ndarray):
            raise TypeError(f"Output arguments type must be cupy.ndarray, not {type(out)}")
        if np.broadcast_shapes(result.shape, out.shape) != out.shape:
            raise ValueError(f"non-broadcastable output operand with shape {out.shape} doesn't match {result.shape}")
        if not np.can_cast(result.dtype, out.dtype, casting):
            raise TypeError(f"output (typecode '{result.dtype.char}') could not be coerced to provided output parameter "
                            f"(typecode '{out.dtype.char}') according to the casting rule \"{casting}\"")
        np.copyto(out._a, result, casting="unsafe", where=True if where is None else unwrap(where))
        state.events["launch"] += 1
        return out

    def outer(self, a: Any, b: Any, **kwargs: Any) -> Any:
        return self(a.reshape(*a.shape, *[1] * b.ndim), b, **kwargs)

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        from .arrays import scatter

        if self.__name__ not in ("add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"):
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        scatter(self.np, a, indices, b)

    def _reducer(self, method: str, a: Any, args: Any, kwargs: Any) -> Any:
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.{method}` is not supported yet")
        same_device(a)
        recording = capture.about_to(arrays_in([a, args, kwargs], []))
        plain, named = unwrap([a, *args]), {k: unwrap(v) for k, v in kwargs.items()}
        made = rewrap(getattr(self.np, method)(*plain, **named), [a])
        if recording is not None:
            memory = capture.memory_of(made, [a])
            recording.calls.append(lambda: capture.refill(memory, getattr(self.np, method)(*plain, **named)))
        return made

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        made = self._reducer("reduce", array, (), {"axis": axis, "dtype": dtype, "keepdims": keepdims})
        return made if out is None else ufunc("positive", RECORD["modules"]["cupy"]["positive"])(made, out=out)

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        return self._reducer("accumulate", array, (), {"axis": axis, "dtype": dtype})

    def reduceat(self, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        return self._reducer("reduceat", array, (indices,), {"axis": axis, "dtype": dtype})


def function(module: str, name: str, theirs: Any) -> Any:
    """A function of CuPy: bound to its own signature, computed by NumPy's."""
    bind = binder(RECORD["modules"][module][name])

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{module}.{name}(): {error}") from None
        given = arrays_in([args, kwargs], [])
        same_device(*given)
        _refuse(name, given)
        if name in WAITING or (name == "where" and len(args) == 1):
            state.note("synchronize")
        if name in BLAS:
            state.note("blas")
        recording = capture.about_to(given)
        plain, named = unwrap(args), {k: unwrap(v) for k, v in kwargs.items()}

        def compute() -> Any:
            with np.errstate(all="ignore"):
                if module == "cupy.linalg":
                    from .linalg import careful

                    return careful(theirs, *plain, **named)
                return theirs(*plain, **named)

        result = compute()
        if isinstance(kwargs.get("out"), ndarray):
            made = kwargs["out"]
        else:
            if name in ("matmul", "dot") and given and all(is_bfloat16(a.dtype) for a in given):
                result = result.astype(given[0].dtype)  # NumPy has no such product and gives float32
            made = rewrap(result, given)
        if recording is not None and not name.startswith("empty"):
            memory = capture.memory_of(made, given)
            recording.calls.append(lambda: capture.refill(memory, compute()))
        return made

    call.__name__ = call.__qualname__ = name
    return call


def _refuse(name: str, given: list) -> None:
    """What the real functions refuse by element type."""
    if name == "matmul" and any(a.ndim > 2 for a in given) and any(is_bfloat16(a.dtype) for a in given):
        raise TypeError("matmul: batched bfloat16 products fail in CuPy 14")
    if name in FOUR_TYPES and any(a.dtype.kind == "f" and a.dtype.itemsize == 2 for a in given):
        raise TypeError(f"array type {given[0].dtype} is unsupported in linalg")
    if name == "bincount" and any(a.dtype.kind not in "iub" for a in given[:1]):
        raise TypeError("'x' must be non-negative integers")


def array(obj: Any, dtype: Any = None, copy: Any = True, order: Any = "K", subok: bool = False, ndmin: int = 0, *,
          blocking: bool = False) -> Any:
    """`cupy.array`."""
    if isinstance(obj, ndarray):
        if copy is not True and (dtype is None or obj.dtype == dtype) and order in ("K", "A", None) and obj.ndim >= ndmin:
            return obj
        source = obj._a
        return _copied([obj], lambda: np.array(source, dtype, copy=True, order=order or "K", ndmin=ndmin))
    many = arrays_in(obj, []) if isinstance(obj, (list, tuple)) else []
    if many:
        nested = _nested(obj)
        return _copied(many, lambda: np.array(nested, dtype, ndmin=ndmin))
    state.note("to_device")
    return own(np.array(obj, dtype, copy=True, order=order if order != "K" else "K", ndmin=ndmin))


def _copied(given: list, copy: Any) -> ndarray:
    recording = capture.about_to(given)
    made = own(copy())
    if recording is not None:
        memory = made._a
        recording.calls.append(lambda: np.copyto(memory, copy()))
    return made


def _nested(obj: Any) -> Any:
    return [_nested(o) for o in obj] if isinstance(obj, (list, tuple)) else (obj._a if isinstance(obj, ndarray) else obj)


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> Any:
    """`cupy.asarray`."""
    return array(a, dtype, copy=bool(copy), order=order or "K", blocking=blocking)


def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    """`cupy.ascontiguousarray`."""
    made = array(a, dtype, copy=False)
    if made.ndim == 0:
        made = made.reshape(1)
    source = made._a
    return made if made.flags.c_contiguous else _copied([made], lambda: np.ascontiguousarray(source))


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> Any:
    """`cupy.asnumpy`."""
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a)
