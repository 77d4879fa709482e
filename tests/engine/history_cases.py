"""Cases of `test_views_like_torch.py`: gradients, hooks, versions and custom functions.

Each is a small program of the library it is given.
"""

from __future__ import annotations

from typing import Any

from .tables import counted

HISTORIES: list = []
case = HISTORIES.append


@case
def detach_shares(torch: Any) -> Any:
    x = counted(torch)
    d = x.detach()
    d[0] = 9.0
    return (x, d.requires_grad)


@case
def detach_mod_after_save(torch: Any) -> Any:
    x = counted(torch)
    y = x * x
    x.detach().mul_(2)
    y.sum().backward()
    return x.grad


@case
def detach_inplace(torch: Any) -> Any:
    x = counted(torch)
    y = x * 2
    z = y * 3
    y.detach_()
    z.sum().backward()
    return (x.grad, y.requires_grad, y.is_leaf)


@case
def detach_inplace_view(torch: Any) -> Any:
    x = counted(torch) * 1
    return x[0:1].detach_()


@case
def data_swap(torch: Any) -> Any:
    x = counted(torch)
    x.data = torch.zeros(2)
    return (x, (x * 2).sum().backward(), x.grad)


@case
def data_swap_view(torch: Any) -> Any:
    x = torch.ones(3)
    v = x[:2]
    x.data = torch.zeros(3)
    v.add_(1)
    return (x, v)


@case
def grad_assign(torch: Any) -> Any:
    x = counted(torch)
    x.grad = torch.ones(3)
    (x * 2).sum().backward()
    return x.grad


@case
def grad_zero_(torch: Any) -> Any:
    x = counted(torch)
    (x * 2).sum().backward()
    g = x.grad
    x.grad.zero_()
    (x * 3).sum().backward()
    return (x.grad, g is x.grad, g)


@case
def grad_alias(torch: Any) -> Any:
    x = counted(torch)
    g = torch.ones(3)
    (x * 1).backward(g)
    x.grad.mul_(5)
    return g


@case
def grad_accum_shared(torch: Any) -> Any:
    x = counted(torch)
    y = counted(torch)
    (x + y).sum().backward()
    x.grad.add_(1)
    return y.grad


@case
def retain_grad_inplace(torch: Any) -> Any:
    x = counted(torch)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * y).sum().backward()
    return (y.grad, x.grad)


@case
def retain_after_inplace(torch: Any) -> Any:
    x = counted(torch)
    y = x * 2
    y.mul_(3)
    y.retain_grad()
    (y * y).sum().backward()
    return (y.grad, x.grad)


@case
def hook_then_inplace(torch: Any) -> Any:
    x = counted(torch)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.clone()))
    y.mul_(3)
    (y * y).sum().backward()
    return (seen, x.grad)


@case
def hook_on_view(torch: Any) -> Any:
    x = counted(torch)
    y = x * 2
    v = y[:2]
    v.register_hook(lambda g: g * 10)
    (v * v).sum().backward()
    return x.grad


@case
def requires_grad_view_then_base(torch: Any) -> Any:
    x = torch.ones(3)
    v = x[:2]
    v.requires_grad_()
    x.mul_(2)
    return (x, v)


@case
def version(torch: Any) -> Any:
    x = torch.ones(2)
    v = [x._version]
    x.add_(1)
    v.append(x._version)
    y = x[0]
    y.mul_(2)
    v.append(x._version)
    x.detach().add_(1)
    v.append(x._version)
    x.data.add_(1)
    v.append(x._version)
    x[0] = 1
    v.append(x._version)
    x.zero_()
    v.append(x._version)
    return v


@case
def saved_modified(torch: Any) -> Any:
    x = counted(torch)
    w = torch.ones(3)
    y = (x * w).sum()
    w.add_(1)
    y.backward()
    return x.grad


@case
def saved_restored(torch: Any) -> Any:
    x = counted(torch)
    w = torch.ones(3)
    y = (x * w).sum()
    w.add_(1)
    w.sub_(1)
    y.backward()
    return x.grad


@case
def saved_exp_out(torch: Any) -> Any:
    x = counted(torch)
    y = x.exp()
    z = y * 2
    y.zero_()
    z.sum().backward()
    return x.grad


@case
def iadd_leaf_nograd(torch: Any) -> Any:
    x = counted(torch)
    with torch.no_grad():
        x -= 0.1
    return (x, x.requires_grad, x.is_leaf)


@case
def inplace_promotes_grad(torch: Any) -> Any:
    x = torch.ones(3)
    w = counted(torch)
    x.mul_(w)
    (x * x).sum().backward()
    return (w.grad, x.requires_grad)


@case
def numpy_version(torch: Any) -> Any:
    x = torch.ones(2)
    x.numpy()[0] = 3
    return (x._version, x)


def doubled_in_place(torch: Any) -> Any:
    """A function that changes its input and says so."""

    class F(torch.autograd.Function):

        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    return F.apply


@case
def func_mark_dirty(torch: Any) -> Any:
    x = counted(torch)
    y = x * 1
    z = doubled_in_place(torch)(y)
    (z * z).sum().backward()
    return (x.grad, z is y, y._version)


@case
def func_mark_dirty_counted(torch: Any) -> Any:
    return doubled_in_place(torch)(counted(torch))


@case
def func_non_diff(torch: Any) -> Any:

    class F(torch.autograd.Function):

        @staticmethod
        def forward(ctx, x):
            y = x.sort()
            ctx.mark_non_differentiable(y[1])
            ctx.save_for_backward(y[1])
            return (y[0], y[1])

        @staticmethod
        def backward(ctx, g, gi):
            i, = ctx.saved_tensors
            return torch.zeros(3).scatter(0, i, g)
    x = counted(torch)
    a, b = F.apply(x.flip(0))
    (a * a).sum().backward()
    return (x.grad, b.requires_grad)


@case
def func_saved_mod(torch: Any) -> Any:

    class F(torch.autograd.Function):

        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return (g * w, g * x)
    x = counted(torch)
    w = torch.ones(3)
    y = F.apply(x, w)
    w.add_(1)
    y.sum().backward()
    return x.grad


@case
def func_return_input(torch: Any) -> Any:

    class F(torch.autograd.Function):

        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5
    x = counted(torch)
    y = F.apply(x)
    y.sum().backward()
    return (x.grad, y is x)


@case
def func_materialize(torch: Any) -> Any:

    class F(torch.autograd.Function):

        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return (x * 1, x * 2)

        @staticmethod
        def backward(ctx, a, b):
            return (a if b is None else a + b) if a is not None else b * 7
    x = counted(torch)
    F.apply(x)[1].sum().backward()
    return x.grad


@case
def func_once_diff(torch: Any) -> Any:

    class F(torch.autograd.Function):

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return 2 * x * g
    x = counted(torch)
    g, = torch.autograd.grad(F.apply(x).sum(), x, create_graph=True)
    g.sum().backward()
    return x.grad


@case
def func_setup_context(torch: Any) -> Any:

    class F(torch.autograd.Function):

        @staticmethod
        def forward(x, k):
            return x ** k

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.x, ctx.k = inputs

        @staticmethod
        def backward(ctx, g):
            return (g * ctx.k * ctx.x ** (ctx.k - 1), None)
    x = counted(torch)
    F.apply(x, 3).sum().backward()
    return x.grad


@case
def double_backward_inplace(torch: Any) -> Any:
    x = counted(torch)
    y = x * 1
    y.mul_(y)
    g, = torch.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    return (g, x.grad)


@case
def no_grad_inplace_history(torch: Any) -> Any:
    x = counted(torch)
    y = x * 2
    with torch.no_grad():
        y.mul_(10)
    y.sum().backward()
    return (x.grad, y)


@case
def inplace_loop_buffer(torch: Any) -> Any:
    x = counted(torch, 4)
    out = torch.zeros(4)
    for i in range(4):
        out[i] = x[i] ** 2 if i == 0 else out[i - 1].clone() + x[i]
    out.sum().backward()
    return x.grad
