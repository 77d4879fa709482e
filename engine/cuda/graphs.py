"""CUDA graphs: record a piece of work once, and replay it with one call."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from engine import backend, random
from engine.gpu import memory
from engine.tensor import Tensor

from .streams import Stream, current_stream, stream


class CUDAGraph:
    """A piece of work on a GPU, recorded by `graph` and put into the current stream by `replay`.

    The recorded kernels keep their addresses: inputs are given by writing into the tensors that were read, outputs are
    read from the tensors that were made. The memory behind them belongs to the graph.
    """

    def __init__(self) -> None:
        gpu = backend.require_cuda()
        self._pool = gpu.cuda.MemoryPool()  # private: eager work must not get what the graph still writes to
        self._graph: Any = None
        self._draws: list[tuple[Any, int]] = []
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
        self._draws = [(generator, 0) for generator in random.on_devices()]
        for generator, _ in self._draws:
            generator.begin_capture()
        self._contexts = gpu.cuda.using_allocator(memory.allocator(gpu, pool or self._pool))
        self._contexts.__enter__()
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
            self._contexts.__exit__(None, None, None)

    def abandon(self) -> None:
        """End a capture that failed."""
        raw = current_stream().raw
        try:
            raw.end_capture()
        except Exception:  # CUDA says once more that the capture is invalid; the first error is the one to see
            pass
        finally:
            self._contexts.__exit__(None, None, None)

    def replay(self) -> None:
        """Put the recorded work into the current stream. RuntimeError before `capture_end`."""
        if self._graph is None:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
        self._graph.launch(current_stream().raw)

    def reset(self) -> None:
        """Forget the recording and its memory."""
        self._graph, self._draws = None, []
        self._pool.free_all_blocks()


class graph:  # noqa: N801 - torch's name
    """`with torch.cuda.graph(g):` records what happens inside into `g`.

    What makes the host wait (`.item()`, `print`, masks as indices) and copies from the host can't be recorded: RuntimeError,
    with the line. Run the work a few times before, so that kernels are compiled and plans made.
    """

    def __init__(self, cuda_graph: CUDAGraph, pool: Any = None, stream: Stream | None = None,
                 capture_error_mode: str = "thread_local") -> None:
        self._graph, self._pool_of, self._stream = cuda_graph, pool, stream or Stream()

    def __enter__(self) -> None:
        backend.require_cuda().cuda.Device().synchronize()
        self._context = stream(self._stream)
        self._context.__enter__()
        self._graph.capture_begin(self._pool_of)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._graph.capture_end()
                return
            self._graph.abandon()
        finally:
            self._context.__exit__(kind, error, trace)
        if isinstance(error, (RuntimeError, NotImplementedError)) and "apture" in str(error):
            raise RuntimeError(
                f"This step can't be captured in a CUDA graph: {error}. HINT: take what waits for the device (.item(), bool(), "
                "print, a mask as index) and copies from the CPU out of the captured part.") from error


def make_graphed_callables(callables: Any, sample_args: tuple, num_warmup_iters: int = 3, **options: Any) -> Callable:
    """A function of one callable whose forward is replayed as a graph; for inference (`torch.no_grad`).

    Its arguments are copied into the tensors of `sample_args`; the result is the graph's own tensor, which the next call
    overwrites. NotImplementedError for several callables: capture the whole training step with `torch.cuda.graph`.
    """
    if isinstance(callables, tuple):
        raise NotImplementedError("make_graphed_callables takes one callable. HINT: capture the whole step with "
                                  "torch.cuda.graph.")
    for _ in range(num_warmup_iters):
        callables(*sample_args)
    recorded = CUDAGraph()
    with graph(recorded):
        out = callables(*sample_args)

    def replayed(*args: Tensor) -> Any:
        for place, value in zip(sample_args, args):
            place.copy_(value)
        recorded.replay()
        return out

    return replayed


__all__ = ["CUDAGraph", "graph", "make_graphed_callables"]
