"""Cases of `test_views_like_torch.py`: views and changes in place.

Each is a small program of the library it is given.
"""

from __future__ import annotations

from typing import Any

from .tables import counted

VIEWS: list = []
case = VIEWS.append


@case
def slice_assign(torch: Any) -> Any:
    x = counted(torch)
    y = torch.zeros(3)
    y[1:] = x[:2]
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    return (x.grad, y)


@case
def slice_assign_clone(torch: Any) -> Any:
    x = counted(torch)
    y = x.clone()
    y[0] = 5.0
    (y * y).sum().backward()
    return x.grad


@case
def mask_assign(torch: Any) -> Any:
    x = counted(torch)
    y = x * 1
    y[y > 1.5] = 0.0
    (y * 3).sum().backward()
    return (x.grad, y)


@case
def mask_assign_tensor(torch: Any) -> Any:
    x = counted(torch)
    v = counted(torch, 2)
    y = x * 1
    y[y > 1.5] = v
    (y * y).sum().backward()
    return (x.grad, v.grad)


@case
def idx_iadd_dups(torch: Any) -> Any:
    x = torch.zeros(3)
    i = torch.tensor([0, 0, 1])
    x[i] += torch.tensor([1.0, 2.0, 3.0])
    return x


@case
def idx_iadd_grad(torch: Any) -> Any:
    x = counted(torch)
    y = x * 1
    y[torch.tensor([0, 2])] += x[:2]
    (y * y).sum().backward()
    return x.grad


@case
def index_put_acc(torch: Any) -> Any:
    x = counted(torch)
    v = counted(torch, 3)
    y = (x * 1).index_put_((torch.tensor([0, 0, 1]),), v, accumulate=True)
    (y * y).sum().backward()
    return (x.grad, v.grad)


@case
def view_chain_base_mod(torch: Any) -> Any:
    x = counted(torch, 2, 3)
    y = x * 1
    v = y[0]
    w = v[1:]
    y.mul_(2)
    (w * w).sum().backward()
    return (x.grad, w)


@case
def view_chain_view_mod(torch: Any) -> Any:
    x = counted(torch, 2, 3)
    y = x * 1
    v = y[0]
    w = v[1:]
    w.mul_(3)
    (y * y).sum().backward()
    return (x.grad, y)


@case
def view_two_views_mod(torch: Any) -> Any:
    x = counted(torch, 2, 3)
    y = x * 1
    v = y[0]
    w = y[:, 0]
    v.mul_(3)
    w.add_(v[0] * 1)
    (y * y).sum().backward()
    return (x.grad, y)


@case
def transposed_mod(torch: Any) -> Any:
    x = counted(torch, 2, 3)
    y = x * 1
    y.t()[0] = torch.tensor([7.0, 8.0])
    (y * y).sum().backward()
    return (x.grad, y)


@case
def diag_fill(torch: Any) -> Any:
    x = counted(torch, 3, 3)
    y = x * 1
    y.diagonal().mul_(2)
    y.fill_diagonal_(1.0)
    (y * y).sum().backward()
    return x.grad


@case
def leaf_view_no_grad(torch: Any) -> Any:
    x = counted(torch)
    with torch.no_grad():
        x[0] = 10.0
        x.view(3).mul_(2)
    (x * x).sum().backward()
    return (x, x.grad)


@case
def base_no_grad_view_mod_nograd(torch: Any) -> Any:
    x = counted(torch) * 1
    with torch.no_grad():
        v = x[0:2]
        v.mul_(2)
    (x * x).sum().backward()
    return x


@case
def expand_add(torch: Any) -> Any:
    return torch.ones(1).expand(3).add_(1)


@case
def expand_copy(torch: Any) -> Any:
    return torch.ones(1).expand(3).copy_(torch.ones(3))


@case
def asstrided_read(torch: Any) -> Any:
    x = counted(torch, 4)
    y = x.as_strided((3, 2), (1, 1))
    (y * torch.arange(6.0).reshape(3, 2)).sum().backward()
    return x.grad


@case
def resize_(torch: Any) -> Any:
    x = torch.arange(4.0)
    x.resize_(2, 2)
    return x


@case
def resize_grow(torch: Any) -> Any:
    x = torch.arange(4.0)
    x.resize_(6)
    return (x[:4], x.shape)


@case
def resize_view(torch: Any) -> Any:
    x = torch.arange(6.0)
    v = x[2:]
    v.resize_(2)
    v[0] = 9
    return x


@case
def resize_as(torch: Any) -> Any:
    return torch.arange(4.0).resize_as_(torch.ones(2, 2))


@case
def resize_grad(torch: Any) -> Any:
    return counted(torch).resize_(2)


@case
def set_(torch: Any) -> Any:
    x = torch.ones(3)
    y = torch.zeros(2)
    x.set_(y)
    x[0] = 5
    return (x, y)


@case
def unbind_inplace_nograd(torch: Any) -> Any:
    x = torch.ones(2, 2)
    x.unbind()[0].mul_(2)
    return x


@case
def split_under_no_grad(torch: Any) -> Any:
    x = counted(torch, 4)
    with torch.no_grad():
        for p in x.split(2):
            p.mul_(2)
    return x


@case
def sigmoid_out_mod(torch: Any) -> Any:
    x = counted(torch)
    y = x.sigmoid()
    y.add_(1)
    y.sum().backward()
    return x.grad


@case
def add_inplace_bcast(torch: Any) -> Any:
    x = counted(torch, 2, 3)
    b = counted(torch)
    y = x * 1
    y += b
    (y * y).sum().backward()
    return (x.grad, b.grad)


@case
def view_promotes_grad(torch: Any) -> Any:
    x = torch.ones(2, 3)
    w = counted(torch)
    x[0].mul_(w)
    (x * x).sum().backward()
    return (w.grad, x.requires_grad, x.grad_fn is not None)


@case
def copy_grad(torch: Any) -> Any:
    x = torch.zeros(3)
    w = counted(torch)
    x.copy_(w)
    (x * x).sum().backward()
    return w.grad


@case
def copy_dtype(torch: Any) -> Any:
    x = torch.zeros(3, dtype=torch.float64)
    w = counted(torch)
    x.copy_(w)
    (x * x).sum().backward()
    return w.grad


@case
def setitem_scalar_tensor(torch: Any) -> Any:
    x = torch.zeros(3)
    w = torch.tensor(2.0, requires_grad=True)
    x[1] = w
    (x * x).sum().backward()
    return w.grad


@case
def setitem_dtype(torch: Any) -> Any:
    x = torch.zeros(3, dtype=torch.int64)
    x[0] = 1.7
    return x


@case
def setitem_bcast(torch: Any) -> Any:
    x = torch.zeros(2, 3)
    x[:] = torch.arange(3.0)
    x[:, :2] = torch.tensor([[7.0], [8.0]])
    return x


@case
def fill_tensor(torch: Any) -> Any:
    x = torch.zeros(2)
    v = torch.tensor(3.0, requires_grad=True)
    x.fill_(v)
    x.sum().backward()
    return v.grad


@case
def masked_scatter_(torch: Any) -> Any:
    x = counted(torch)
    s = counted(torch)
    y = x * 1
    y.masked_scatter_(y > 1.5, s)
    (y * y).sum().backward()
    return (x.grad, s.grad)


@case
def scatter_(torch: Any) -> Any:
    x = counted(torch)
    s = counted(torch)
    y = x * 1
    y.scatter_(0, torch.tensor([0, 2]), s[:2])
    (y * y).sum().backward()
    return (x.grad, s.grad)


@case
def index_copy_(torch: Any) -> Any:
    x = counted(torch)
    s = counted(torch)
    y = x * 1
    y.index_copy_(0, torch.tensor([0, 1]), s[:2])
    (y * y).sum().backward()
    return (x.grad, s.grad)


@case
def unsqueeze_(torch: Any) -> Any:
    x = counted(torch)
    y = x * 1
    y.unsqueeze_(0)
    (y * y).sum().backward()
    return (x.grad, y.shape)


@case
def real_view(torch: Any) -> Any:
    x = torch.ones(2, dtype=torch.complex64)
    torch.view_as_real(x)[:, 1] = 3
    x.real.mul_(2)
    return x


@case
def imag_assign(torch: Any) -> Any:
    x = torch.ones(2, dtype=torch.complex64)
    x.imag = torch.tensor([1.0, 2.0])
    return x


@case
def view_dtype(torch: Any) -> Any:
    x = torch.ones(2)
    v = x.view(torch.int32)
    v.zero_()
    return x


@case
def reshape_view_or_copy(torch: Any) -> Any:
    x = torch.arange(6.0).reshape(2, 3)
    a = x.reshape(3, 2)
    b = x.t().reshape(6)
    a[0, 0] = 9
    b[1] = 8
    return x


@case
def to_same(torch: Any) -> Any:
    x = torch.ones(2)
    return (x.to(torch.float32) is x, x.to('cpu') is x,
             x.float() is x, x.to(torch.float32, copy=True) is x, x.cpu() is x, x.type(torch.float32) is x,
            x.clone() is x)


@case
def out_of_view(torch: Any) -> Any:
    x = torch.zeros(4)
    torch.add(torch.ones(2), 1, out=x[1:3])
    return x


@case
def unfold_write(torch: Any) -> Any:
    x = torch.zeros(5)
    x.unfold(0, 2, 2).add_(1)
    return x


@case
def adv_index_grad_dups(torch: Any) -> Any:
    x = counted(torch)
    (x[torch.tensor([0, 0, 2])] * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    return x.grad


@case
def rnn_state_list(torch: Any) -> Any:
    h = counted(torch)
    hs = torch.zeros(3, 3)
    s = h
    for i in range(3):
        s = torch.tanh(s)
        hs[i] = s
    hs.sum().backward()
    return h.grad


@case
def piece_mod_version(torch: Any) -> Any:
    x = torch.ones(4)
    w = counted(torch, 4)
    y = (x * w).sum()
    x.split(2)[0].add_(1)
    y.backward()
    return w.grad


@case
def piece_of_view_base_mod(torch: Any) -> Any:
    x = counted(torch, 2, 4)
    y = x * 1
    r = y[0]
    a, b = r.chunk(2)
    c = a[0:1]
    (c * c).sum().backward()
    return x.grad


@case
def unbind_iter_grad(torch: Any) -> Any:
    x = counted(torch, 3, 2)
    s = 0
    for r in x:
        s = s + (r * r).sum()
    s.backward()
    return x.grad


@case
def stack_view(torch: Any) -> Any:
    x = counted(torch)
    y = torch.stack([x, x])
    y[0].zero_()
    y.sum().backward()
    return x.grad
