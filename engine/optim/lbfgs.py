"""L-BFGS: a quasi-Newton method that remembers a few past steps (Nocedal and Wright, Numerical Optimization, 7.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine import backend
from engine.autograd.modes import enable_grad, no_grad
from engine.optim._flat import check_not_negative
from engine.optim._line_search import Point, strong_wolfe
from engine.optim.optimizer import Optimizer
from engine.tensor import Tensor, wrap

__all__ = ["LBFGS"]

SMALLEST_CURVATURE = 1e-10  # below it a step is not remembered


class LBFGS(Optimizer):
    """L-BFGS. `step` needs a closure that clears the gradients, computes the loss, calls backward and returns the loss.

    Args:
        params: parameters; one group only. All on one device.
        lr: the step length (with a line search: the first one tried).
        max_iter: the most iterations per `step`.
        max_eval: the most calls of the closure per `step`; None: max_iter * 5 // 4.
        tolerance_grad: end when no element of the gradient is larger.
        tolerance_change: end when no parameter, or the loss, changes more.
        history_size: how many past steps are remembered; each costs two copies of the parameters.
        line_search_fn: None or "strong_wolfe".

    State, kept for the first parameter: "func_evals", "n_iter", "d" (direction), "t" (its length), "old_dirs",
    "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss".

    Raises:
        ValueError: several parameter groups, or a negative `lr`.
        RuntimeError: another `line_search_fn`.

    >>> w = torch.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> [round(x, 4) for x in w.tolist()]
    [1.0, 1.0]
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_not_negative("learning rate", lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def _flat_grad(self) -> Any:
        """The gradients of all parameters in one array; zeros where there is none."""
        arrays = [p._array for p in self.param_groups[0]["params"]]
        grads = [p.grad for p in self.param_groups[0]["params"]]
        xp = backend.namespace(arrays[0])
        return xp.concatenate([xp.zeros(a.size, a.dtype) if g is None else g._array.ravel()
                               for a, g in zip(arrays, grads)])

    def _move(self, t: float, d: Any) -> None:
        """Add `t * d` to the parameters."""
        start = 0
        for p in self.param_groups[0]["params"]:
            size = p._array.size
            p._array += (d[start : start + size] * p._array.dtype.type(t)).reshape(p._array.shape)
            p._bump("LBFGS.step")
            start += size

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Iterate until a tolerance or a limit is reached; returns the closure's first loss. TypeError without one."""
        if closure is None:
            raise TypeError("LBFGS.step() needs a closure that computes the loss anew and returns it")
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        with no_grad():
            return self._iterate(closure, group, state)

    def _iterate(self, closure: Callable, group: dict[str, Any], state: dict[str, Any]) -> Any:
        with enable_grad():
            first_loss = closure()
        loss, g = float(first_loss), self._flat_grad()
        state["func_evals"] += 1
        evaluations, iterations = 1, 0
        lr, tolerance_grad, tolerance_change = float(group["lr"]), group["tolerance_grad"], group["tolerance_change"]
        if float(abs(g).max()) <= tolerance_grad:
            return first_loss
        while iterations < group["max_iter"]:
            iterations += 1
            state["n_iter"] += 1
            d = self._direction(state, g, group["history_size"])
            state["d"], state["prev_flat_grad"], state["prev_loss"] = wrap(d), wrap(g), loss
            t = min(1.0, 1.0 / float(abs(g).sum())) * lr if state["n_iter"] == 1 else lr
            slope = float(g @ d)
            state["t"] = t
            if slope > -tolerance_change:
                break
            last = iterations == group["max_iter"]
            most = group["max_eval"] - evaluations
            found, calls = self._go(closure, group, Point(0.0, loss, g, slope), t, d, last, most)
            before, (t, loss, g) = loss, found[:3]
            state["t"] = t
            evaluations += calls
            state["func_evals"] += calls
            if (last or evaluations >= group["max_eval"] or float(abs(g).max()) <= tolerance_grad
                    or float(abs(d * g.dtype.type(t)).max()) <= tolerance_change
                    or abs(loss - before) < tolerance_change):
                break
        return first_loss

    def _direction(self, state: dict[str, Any], g: Any, history_size: int) -> Any:
        """Minus the approximate inverse Hessian times the gradient, by the two-loop recursion."""
        if state["n_iter"] == 1:
            state["old_dirs"], state["old_stps"], state["ro"], state["H_diag"] = [], [], [], 1.0
            return -g
        kind = g.dtype.type
        y, s = g - state["prev_flat_grad"]._array, state["d"]._array * kind(state["t"])
        curvature = float(y @ s)
        if curvature > SMALLEST_CURVATURE:
            if len(state["ro"]) == history_size:
                for name in ("old_dirs", "old_stps", "ro"):
                    state[name].pop(0)
            state["old_dirs"].append(wrap(y))
            state["old_stps"].append(wrap(s))
            state["ro"].append(1.0 / curvature)
            state["H_diag"] = curvature / float(y @ y)
        past = [(dy._array, ds._array, ro) for dy, ds, ro in zip(state["old_dirs"], state["old_stps"], state["ro"])]
        q, weights = -g, []
        for dy, ds, ro in reversed(past):
            weights.append(float(ds @ q) * ro)
            q -= dy * kind(weights[-1])
        q *= kind(state["H_diag"])
        for (dy, ds, ro), weight in zip(past, reversed(weights)):
            q += ds * kind(weight - float(dy @ q) * ro)
        return q

    def _go(self, closure: Callable, group: dict[str, Any], start: Point, t: float, d: Any, last: bool,
            most: int) -> tuple[Point, int]:
        """Move along `d`; returns the point reached and how often the closure was called (`most`: see `strong_wolfe`)."""

        def measure(t: float) -> Point:
            with enable_grad():
                loss = float(closure())
            g = self._flat_grad()
            return Point(t, loss, g, float(g @ d))

        if group["line_search_fn"] is None:
            self._move(t, d)
            return (start._replace(t=t), 0) if last else (measure(t), 1)
        if group["line_search_fn"] != "strong_wolfe":
            raise RuntimeError(f"only 'strong_wolfe' is supported, got line_search_fn={group['line_search_fn']!r}")
        origin = [p._array.copy() for p in group["params"]]

        def put_back() -> None:
            for p, array in zip(group["params"], origin):
                p._array[...] = array

        def evaluate(t: float) -> Point:
            self._move(t, d)
            point = measure(t)
            put_back()
            return point

        found, calls = strong_wolfe(evaluate, start, t, float(abs(d).max()), group["tolerance_change"], most)
        self._move(found.t, d)
        return found, calls
