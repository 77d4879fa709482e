"""CUDA graphs: record a piece of work once, and replay it with one call."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from engine import backend, random
from engine.errors import failing_line
from engine.gpu import capture, memory
from engine.gpu.capture import StaleGraph
from engine.tensor import Tensor

from .streams import Stream, current_stream, stream

_ARRAY, _LEARNS = operator.attrgetter("_array"), operator.attrgetter("_requires_grad")
_streams: dict[int, Stream] = {}  # by GPU: where graphs are captured, so that eager work never mixes in


class Addresses:
    """Tensors that a graph was captured with, to see later whether their memory is where it was and which of them learn."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors = [*tensors]
        self._arrays, self._learning = [*map(_ARRAY, self._tensors)], [*map(_LEARNS, self._tensors)]

    def hold(self) -> bool:
        """Whether a replay would use the same memory. Fast: it is asked before every replay."""
        return all(map(operator.is_, map(_ARRAY, self._tensors), self._arrays)) and self._learning == [
            *map(_LEARNS, self._tensors)]

    def are_of(self, tensors: Iterable[Tensor]) -> bool:
        """Whether these are the tensors."""
        given = [*tensors]
        return len(given) == len(self._tensors) and all(map(operator.is_, given, self._tensors))


class CUDAGraph:
    """A piece of work on a GPU, recorded by `graph` and put into the current stream by `replay`.

    The recorded kernels keep their addresses: inputs are given by writing into the tensors that were read, outputs are
    read from the tensors that were made. The memory behind them belongs to the graph.
    """

    def __init__(self, keep_graph: bool = False) -> None:
        gpu = backend.require_cuda()
        self._pool = gpu.cuda.MemoryPool()  # private: eager work must not get what the graph still writes to
        self._graph: Any = None
        self._draws: list[tuple[Any, int]] = []
        self._capture: capture.Capture | None = None
        self._contexts: Any = None

    def pool(self) -> Any:
        """The private memory pool."""
        return self._pool

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        """Record instead of run, on the current stream, which must not be the default one."""
        gpu = backend.require_cuda()
        raw = current_stream().raw
        if raw.ptr == 0:
            raise RuntimeError("CUDA graphs must be captured on a non-default stream. (However, after capture, it's ok to "
                               "replay them on the default stream.)")
        if pool is not None:
            self._pool = pool
        self._draws = [(generator, 0) for generator in random.on_devices()]
        for generator, _ in self._draws:
            generator.begin_capture()
        self._capture = capture.Capture()
        self._contexts = gpu.cuda.using_allocator(memory.allocator(gpu, self._pool))
        self._contexts.__enter__()
        self._capture.__enter__()
        raw.begin_capture()

    def capture_end(self) -> None:
        """Stop recording."""
        raw = current_stream().raw
        try:
            self._draws = [(generator, generator.end_capture()) for generator, _ in self._draws]
            for generator, draws in self._draws:
                if draws:
                    generator.advance(draws)
            self._graph = raw.end_capture()
        finally:
            self._leave()

    def abandon(self) -> None:
        """End a capture that failed."""
        try:
            for generator, _ in self._draws:
                generator.end_capture()
            current_stream().raw.end_capture()
        except Exception:  # CUDA says once more that the capture is invalid; the first error is the one to see
            pass
        finally:
            self._leave()

    def _leave(self) -> None:
        assert self._capture is not None
        self._capture.__exit__()
        self._contexts.__exit__(None, None, None)

    def replay(self) -> None:
        """Put the recorded work into the current stream; the host does not wait.

        RuntimeError before `capture_end`; `StaleGraph`, a RuntimeError, if a captured optimizer has another state by now.
        """
        if self._graph is None:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
        for look in self._capture.before_replay:  # type: ignore[union-attr]
            look()
        self._graph.launch(current_stream().raw)

    def reset(self) -> None:
        """Forget the recording and its memory."""
        self._graph, self._draws, self._capture = None, [], None
        self._pool.free_all_blocks()


def graph_pool_handle() -> Any:
    """A memory pool for several graphs that are replayed in the order in which they were captured."""
    return backend.require_cuda().cuda.MemoryPool()


def is_current_stream_capturing() -> bool:
    """Whether work of this thread is being captured."""
    return capture.current() is not None


class graph:  # noqa: N801 - torch's name
    """`with torch.cuda.graph(g):` records what happens inside into `g`; nothing is computed before `g.replay()`.

    What makes the host wait (`.item()`, `print`, masks as indices) and copies from the host can't be recorded: RuntimeError,
    with the line. Run the work three times before, so that kernels are compiled, plans made, and an optimizer's state is there.

    Args:
        cuda_graph: what to record into.
        pool: memory of another graph (`other.pool()`), or of `graph_pool_handle()`, to share.
        stream: where to capture; one for all graphs by default.
        capture_error_mode: accepted; only this thread's calls are refused.
    """

    def __init__(self, cuda_graph: CUDAGraph, pool: Any = None, stream: Stream | None = None,
                 capture_error_mode: str = "global") -> None:
        device = backend.require_cuda().cuda.Device().id
        if stream is None:
            stream = _streams.get(device) or _streams.setdefault(device, Stream())
        self._graph, self._pool_of, self._stream = cuda_graph, pool, stream

    def __enter__(self) -> None:
        gpu = backend.require_cuda()
        gpu.cuda.Device().synchronize()
        gpu.get_default_memory_pool().free_all_blocks()  # what eager steps needed, the graph takes from a pool of its own
        self._context = stream(self._stream)
        self._context.__enter__()
        try:
            self._graph.capture_begin(self._pool_of)
        except BaseException:
            self._context.__exit__(None, None, None)
            raise

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._graph.capture_end()
                return
            self._graph.abandon()
        finally:
            self._context.__exit__(kind, error, trace)
        if isinstance(error, (RuntimeError, NotImplementedError)) and "apture" in str(error):
            place, hint = failing_line(trace), _hint(str(error))
            raise RuntimeError(f"This step can't be captured in a CUDA graph: {error} (at {place}).{hint}") from error


def _hint(message: str) -> str:
    if "HINT" in message:
        return ""
    if "cuBLAS" in message or "blas" in message:
        return (" HINT: pip install nvmath-python, whose matrix products can be captured; of linalg and einsum with more than"
                " two operands nothing can be.")
    return (" HINT: take what waits for the device (.item(), bool(), print, a mask as index) and copies from the CPU out of"
            " the captured part.")


__all__ = ["Addresses", "CUDAGraph", "StaleGraph", "graph", "graph_pool_handle", "is_current_stream_capturing"]
