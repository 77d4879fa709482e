"""The table of `test_mistakes.py`: the commonest mistakes, each a small function of the library it is made on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from .mistakes_of_training import DATA, FILES, LOSSES, OPTIMIZERS, sgd
from .tables import LOOSE, leaf, set_attribute

SHAPES = [
    ("add", lambda torch: torch.ones(2, 3) + torch.ones(4), RuntimeError, "(3)", "(4)", "dimension 1"),
    ("add in place", lambda torch: torch.ones(3).add_(torch.ones(2, 3)), RuntimeError, "[3]", "[2, 3]"),
    ("matmul", lambda torch: torch.ones(2, 3) @ torch.ones(4, 5), RuntimeError, "2x3 and 4x5"),
    ("mm of three dimensions", lambda torch: torch.mm(torch.ones(2, 3, 4), torch.ones(4, 2)), RuntimeError),
    ("bmm", lambda torch: torch.bmm(torch.ones(2, 3, 4), torch.ones(3, 4, 5)), RuntimeError),
    ("mv", lambda torch: torch.ones(2, 3).mv(torch.ones(2)), RuntimeError),
    ("dot", lambda torch: torch.ones(2).dot(torch.ones(3)), RuntimeError),
    ("matmul of a batch", lambda torch: torch.ones(2, 3, 4) @ torch.ones(3, 4, 5), RuntimeError),
    ("matmul of a number", lambda torch: torch.ones(2) @ torch.tensor(2.0), RuntimeError),
    ("view", lambda torch: torch.ones(6).view(4), RuntimeError),
    ("view -1", lambda torch: torch.ones(6).view(4, -1), RuntimeError),
    ("view -1 twice", lambda torch: torch.ones(6).view(-1, -1), RuntimeError),
    ("view of a transpose", lambda torch: torch.ones(2, 3).t().view(6), RuntimeError),
    ("reshape", lambda torch: torch.ones(2, 3).reshape(5, 2), RuntimeError),
    ("unflatten", lambda torch: torch.ones(6).unflatten(0, (4, 2)), RuntimeError),
    ("cat", lambda torch: torch.cat([torch.ones(2, 3), torch.ones(2, 4)]), RuntimeError),
    ("cat of nothing", lambda torch: torch.cat([]), ValueError),
    ("cat of a tensor", lambda torch: torch.cat(torch.ones(2)), TypeError),
    ("cat of two tensors", lambda torch: torch.cat(torch.ones(2), torch.ones(2)), TypeError),
    ("stack", lambda torch: torch.stack([torch.ones(2), torch.ones(3)]), RuntimeError),
    ("stack of nothing", lambda torch: torch.stack([]), RuntimeError),
    ("transpose", lambda torch: torch.ones(2, 3).transpose(0, 2), IndexError),
    ("t of three dimensions", lambda torch: torch.ones(2, 3, 4).t(), RuntimeError),
    ("permute too few", lambda torch: torch.ones(2, 3).permute(0), RuntimeError),
    ("permute twice", lambda torch: torch.ones(2, 3).permute(0, 0), RuntimeError),
    ("expand", lambda torch: torch.ones(3).expand(4), RuntimeError),
    ("expand to fewer", lambda torch: torch.ones(2, 3).expand(3), RuntimeError),
    ("repeat", lambda torch: torch.ones(2, 3).repeat(2), RuntimeError),
    ("unsqueeze", lambda torch: torch.ones(2).unsqueeze(3), IndexError),
    ("squeeze", lambda torch: torch.ones(2).squeeze(1), IndexError),
    ("flatten", lambda torch: torch.ones(2, 3).flatten(1, 0), RuntimeError),
    ("sum", lambda torch: torch.ones(2).sum(1), IndexError),
    ("softmax", lambda torch: torch.softmax(torch.ones(2), 1), IndexError),
    ("sum twice", lambda torch: torch.ones(2, 3).sum((0, 0)), RuntimeError),
    ("max of nothing", lambda torch: torch.ones(0).max(), RuntimeError),
    ("argmax of nothing", lambda torch: torch.ones(0).argmax(), IndexError),
    ("max of nothing along", lambda torch: torch.ones(2, 0).max(1), IndexError),
    ("split", lambda torch: torch.ones(5).split([2, 2]), RuntimeError),
    ("chunk", lambda torch: torch.ones(5).chunk(0), RuntimeError),
    ("topk", lambda torch: torch.ones(3).topk(4), RuntimeError),
    ("einsum subscripts", lambda torch: torch.einsum("ijk->i", torch.ones(2, 3)), RuntimeError),
    ("einsum sizes", lambda torch: torch.einsum("ij,jk->ik", torch.ones(2, 3), torch.ones(4, 5)), RuntimeError),
    ("where", lambda torch: torch.where(torch.ones(2) > 0, torch.ones(3), torch.ones(3)), RuntimeError),
    ("masked_fill", lambda torch: torch.ones(3).masked_fill(torch.ones(2) > 0, 0.0), RuntimeError),
    ("copy", lambda torch: torch.ones(3).copy_(torch.ones(2)), RuntimeError),
    ("broadcast_to", lambda torch: torch.broadcast_to(torch.ones(2), (3,)), RuntimeError),
    ("negative size", lambda torch: torch.zeros(2, -1), RuntimeError),
    ("cross", lambda torch: torch.linalg.cross(torch.ones(4), torch.ones(4)), RuntimeError),
    ("inv", lambda torch: torch.linalg.inv(torch.ones(2, 3)), RuntimeError),
    ("inv of a singular matrix", lambda torch: torch.linalg.inv(torch.zeros(2, 2)), RuntimeError),
    ("cholesky", lambda torch: torch.linalg.cholesky(-torch.eye(2)), RuntimeError),
    ("solve", lambda torch: torch.linalg.solve(torch.eye(2), torch.ones(3)), RuntimeError),
    ("ragged list", lambda torch: torch.tensor([[1, 2], [3]]), ValueError),
    ("rot90 in one dimension", lambda torch: torch.ones(2, 2).rot90(1, (0, 0)), RuntimeError),
    ("negative size of reshape", lambda torch: torch.ones(4).reshape(-2, 2), RuntimeError),
    ("cat of several ranks", lambda torch: torch.cat([torch.ones(2), torch.ones(2, 2)]), RuntimeError),
    ("cat of numbers", lambda torch: torch.cat([torch.tensor(1.0), torch.tensor(2.0)]), RuntimeError),
    ("view as a wider dtype", lambda torch: torch.ones(3).view(torch.float64), RuntimeError, "divisible by 2", LOOSE),
    ("a float as a size", lambda torch: torch.ones(3.0), TypeError, "float"),
    ("addmm", lambda torch: torch.addmm(torch.ones(5), torch.ones(2, 3), torch.ones(3, 2)), RuntimeError),
    ("einsum's characters", lambda torch: torch.einsum("i!->i", torch.ones(2, 3)), RuntimeError),
    ("einsum's operands", lambda torch: torch.einsum("ij,jk->ik", torch.ones(2, 3)), RuntimeError),
    ("einsum's output", lambda torch: torch.einsum("ij->k", torch.ones(2, 3)), RuntimeError),
    ("hstack", lambda torch: torch.hstack([torch.ones(2, 2), torch.ones(3, 2)]), RuntimeError),
    ("roll", lambda torch: torch.ones(2, 2).roll((1, 2), 0), RuntimeError),
    ("lstsq", lambda torch: torch.linalg.lstsq(torch.ones(3, 2), torch.ones(2, 2)), RuntimeError),
    ("vmap", lambda torch: torch.vmap(lambda x, y: x + y)(torch.ones(2), torch.ones(3)), ValueError),
    ("vmap of a number", lambda torch: torch.vmap(lambda x: x)(torch.tensor(1.0)), ValueError),
]

DTYPES = [
    ("matmul of a double", lambda torch: torch.ones(2, 2).double() @ torch.ones(2, 2), RuntimeError),
    ("matmul of float64", lambda torch: torch.ones(2, 2) @ torch.ones(2, 2).double(), RuntimeError),
    ("linear", lambda torch: torch.nn.Linear(2, 2)(torch.ones(2, 2).double()), RuntimeError),
    ("mm", lambda torch: torch.mm(torch.ones(2, 2), torch.ones(2, 2).double()), RuntimeError),
    ("bmm", lambda torch: torch.bmm(torch.ones(1, 2, 2), torch.ones(1, 2, 2).double()), RuntimeError),
    ("dot", lambda torch: torch.ones(2).dot(torch.ones(2).double()), RuntimeError),
    ("batch norm", lambda torch: torch.nn.BatchNorm1d(2)(torch.ones(2, 2).long()), RuntimeError),
    ("lstm", lambda torch: torch.nn.LSTM(2, 2)(torch.ones(2, 1, 2).double()), (RuntimeError, ValueError)),
    ("conv", lambda torch: torch.nn.Conv1d(1, 1, 1)(torch.ones(1, 1, 2).double()), RuntimeError),
    ("embedding", lambda torch: torch.nn.Embedding(3, 2)(torch.ones(2)), RuntimeError),
    ("add in place", lambda torch: torch.ones(2).long().add_(torch.ones(2)), RuntimeError),
    ("divide in place", lambda torch: torch.ones(2).long().div_(2), RuntimeError),
    ("gradient of integers", lambda torch: torch.tensor([1, 2], requires_grad=True), RuntimeError),
    ("gradient of integers later", lambda torch: torch.tensor([1, 2]).requires_grad_(), RuntimeError),
    ("mean", lambda torch: torch.tensor([1, 2]).mean(), RuntimeError),
    ("mean of bools", lambda torch: torch.tensor([True]).mean(), RuntimeError),
    ("softmax", lambda torch: torch.softmax(torch.tensor([1, 2]), 0), RuntimeError),
    ("and", lambda torch: torch.ones(2) & torch.ones(2), RuntimeError),
    ("minus a bool", lambda torch: -torch.tensor([True]), RuntimeError),
    ("difference of bools", lambda torch: torch.tensor([True]) - torch.tensor([True]), RuntimeError),
    ("a string", lambda torch: torch.tensor("a"), TypeError),
    ("a list of strings", lambda torch: torch.tensor(["a"]), ValueError),
    ("None in a list", lambda torch: torch.tensor([None]), RuntimeError),
    ("dtype by name", lambda torch: torch.zeros(2, dtype="float32"), TypeError),
    ("NumPy strings", lambda torch: torch.from_numpy(np.array(["a"])), TypeError),
    ("from_numpy of a list", lambda torch: torch.from_numpy([1, 2]), TypeError),
    ("item of two", lambda torch: torch.ones(2).item(), RuntimeError),
    ("float of two", lambda torch: float(torch.ones(2)), ValueError),
    ("int of two", lambda torch: int(torch.ones(2)), ValueError),
    ("truth of two", lambda torch: bool(torch.ones(2) > 0), RuntimeError),
    ("len of a number", lambda torch: len(torch.tensor(1.0)), TypeError),
    ("iterate a number", lambda torch: list(torch.tensor(1.0)), TypeError),
    ("range of a tensor of two", lambda torch: range(torch.ones(2).long()), TypeError),
    ("add a string", lambda torch: torch.ones(2) + "a", TypeError),
    ("add a list", lambda torch: torch.ones(2) + [1, 2], TypeError),
    ("function of a list", lambda torch: torch.relu([1.0]), TypeError),
    ("function of an array", lambda torch: torch.exp(np.ones(2)), TypeError),
    ("one_hot", lambda torch: torch.nn.functional.one_hot(torch.ones(2)), RuntimeError),
    ("one_hot too few", lambda torch: torch.nn.functional.one_hot(torch.tensor([3]), 2), RuntimeError),
    ("complex order", lambda torch: torch.ones(2, dtype=torch.complex64) < 1, RuntimeError),
    ("overflow", lambda torch: torch.tensor([300], dtype=torch.uint8), RuntimeError),
    ("lerp", lambda torch: torch.lerp(torch.ones(2), torch.ones(2).double(), 0.5), RuntimeError),
    ("where's condition", lambda torch: torch.where(torch.ones(2), 1.0, 0.0), RuntimeError),
    ("mask of floats", lambda torch: torch.ones(2).masked_fill(torch.ones(2), 0.0), RuntimeError),
    ("out", lambda torch: torch.add(torch.ones(2), torch.ones(2), out=torch.ones(2).long()), RuntimeError),
    ("invert floats", lambda torch: ~torch.ones(2), TypeError),
    ("floor of complex", lambda torch: torch.ones(2, dtype=torch.complex64).floor(), NotImplementedError),
    ("max of complex", lambda torch: torch.ones(2, dtype=torch.complex64).max(), NotImplementedError),
    ("clamp of complex", lambda torch: torch.ones(2, dtype=torch.complex64).clamp(0, 1), NotImplementedError),
    ("float of complex", lambda torch: float(torch.tensor(1 + 1j)), RuntimeError),
    ("bincount of floats", lambda torch: torch.ones(2).bincount(), NotImplementedError),
    ("relu of bools", lambda torch: torch.relu(torch.tensor([True])), RuntimeError),
    ("take by int32", lambda torch: torch.ones(3).take(torch.ones(1, dtype=torch.int32)), RuntimeError),
    ("quantile of integers", lambda torch: torch.tensor([1, 2]).quantile(0.5), RuntimeError),
    ("std of integers", lambda torch: torch.tensor([1, 2]).std(), RuntimeError),
    ("integers to a negative power", lambda torch: torch.tensor([2]) ** -1, RuntimeError),
    ("integers divided by zero", lambda torch: torch.tensor([2]) // 0, RuntimeError),
    ("index of a list", lambda torch: [1, 2, 3][torch.tensor(1.5)], TypeError),
    ("item of none", lambda torch: torch.tensor([]).item(), RuntimeError),
    ("a format of two", lambda torch: f"{torch.ones(2):.2f}", TypeError),
    ("chained comparison", lambda torch: 0 < torch.ones(2) < 1, RuntimeError),
    ("slope of a string", lambda torch: torch.nn.LeakyReLU("a")(torch.ones(2)), TypeError, "must be Number, not str", LOOSE),
]

RANGES = [
    ("arange", lambda torch: torch.arange(3, 0), RuntimeError),
    ("arange step", lambda torch: torch.arange(0, 3, 0), RuntimeError),
    ("linspace", lambda torch: torch.linspace(0, 1, -1), RuntimeError),
    ("randint", lambda torch: torch.randint(5, 5, (2,)), RuntimeError),
    ("randperm", lambda torch: torch.randperm(-1), RuntimeError),
    ("multinomial", lambda torch: torch.multinomial(torch.tensor([1.0, -1.0]), 1), RuntimeError),
    ("multinomial too many", lambda torch: torch.multinomial(torch.ones(2), 3), RuntimeError),
    ("bernoulli", lambda torch: torch.bernoulli(torch.tensor([2.0])), RuntimeError),
    ("normal", lambda torch: torch.normal(0.0, -1.0, (2,)), RuntimeError),
    ("dropout", lambda torch: torch.nn.functional.dropout(torch.ones(2), 2.0), ValueError),
    ("device", lambda torch: torch.zeros(2, device="gpu"), RuntimeError, "gpu"),
    ("device of to", lambda torch: torch.zeros(2).to("cudaa"), RuntimeError, "cudaa"),
    ("device index", lambda torch: torch.device("cuda:x"), RuntimeError, "cuda:x"),
    ("module's device", lambda torch: torch.nn.Linear(1, 1).to("gpu"), RuntimeError, "gpu"),
    ("module's dtype", lambda torch: torch.nn.Linear(1, 1).to(torch.int64), TypeError, "torch.int64"),
    ("randint of floats", lambda torch: torch.randint(0, 2.5, (2,)), TypeError, LOOSE),
    ("randint beyond the dtype", lambda torch: torch.randint(0, 300, (2,), dtype=torch.uint8), RuntimeError),
    ("uniform_ of integers", lambda torch: torch.ones(2).long().uniform_(), NotImplementedError),
    ("normal_ of integers", lambda torch: torch.ones(2).long().normal_(), NotImplementedError),
    ("device's index", lambda torch: torch.device("cpu", -2), RuntimeError),
    ("no device", lambda torch: torch.device(), TypeError),
    ("exponential_", lambda torch: torch.ones(2).exponential_(-1), RuntimeError),
    ("generator", lambda torch: torch.rand(2, generator=5), TypeError, LOOSE),
    ("RNG state", lambda torch: torch.set_rng_state(torch.ones(3)), TypeError, LOOSE),
]

INDICES = [
    ("index", lambda torch: torch.ones(3)[3], IndexError, "index 3", "dimension 0 with size 3"),
    ("negative index", lambda torch: torch.ones(3, 4)[0, -5], IndexError, "index -5", "dimension 1 with size 4"),
    ("too many indices", lambda torch: torch.ones(2, 3)[0, 0, 0], IndexError),
    ("index of a number", lambda torch: torch.tensor(1.0)[0], IndexError),
    ("index tensor", lambda torch: torch.ones(3)[torch.tensor([1, 5])], IndexError),
    ("index of floats", lambda torch: torch.ones(3)[torch.tensor([1.0])], IndexError),
    ("float index", lambda torch: torch.ones(3)[1.0], IndexError),
    ("string index", lambda torch: torch.ones(3)["a"], TypeError),
    ("negative step", lambda torch: torch.ones(3)[::-1], ValueError),
    ("mask", lambda torch: torch.ones(3)[torch.tensor([True, False])], IndexError),
    ("two index tensors", lambda torch: torch.ones(3, 3)[torch.tensor([0, 1]), torch.tensor([0, 1, 2])], IndexError),
    ("assignment", lambda torch: torch.ones(3).__setitem__(slice(0, 2), torch.ones(3)), RuntimeError),
    ("assignment by tensor", lambda torch: torch.ones(3).__setitem__(torch.tensor([0, 1]), torch.ones(3)), RuntimeError),
    ("index_select", lambda torch: torch.ones(3).index_select(0, torch.tensor([5])), IndexError),
    ("index_select by floats", lambda torch: torch.ones(3).index_select(0, torch.ones(1)), RuntimeError),
    ("gather", lambda torch: torch.ones(2, 3).gather(1, torch.tensor([0])), RuntimeError),
    ("gather out of range", lambda torch: torch.ones(3).gather(0, torch.tensor([3])), RuntimeError),
    ("gather by floats", lambda torch: torch.ones(3).gather(0, torch.ones(1)), RuntimeError),
    ("scatter", lambda torch: torch.zeros(3).scatter(0, torch.tensor([4]), torch.ones(1)), RuntimeError),
    ("scatter dtypes", lambda torch: torch.zeros(3).scatter(0, torch.tensor([0]), torch.ones(1).double()), RuntimeError),
    ("index_add", lambda torch: torch.zeros(3).index_add(0, torch.tensor([0, 1]), torch.ones(3)), RuntimeError),
    ("take", lambda torch: torch.ones(3).take(torch.tensor([4])), IndexError),
    ("narrow", lambda torch: torch.ones(3).narrow(0, 2, 2), RuntimeError),
    ("select", lambda torch: torch.ones(3).select(0, 3), IndexError),
    ("embedding", lambda torch: torch.nn.Embedding(3, 2)(torch.tensor([3])), IndexError),
]


def twice(torch: Any) -> None:
    y = torch.ones(2, requires_grad=True).exp().sum()
    y.backward()
    y.backward()


def changed_after_use(torch: Any) -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    y.add_(1)
    y.sum().backward()


def changed_weight(torch: Any) -> None:
    layer, x = torch.nn.Linear(2, 3), torch.ones(1, 2, requires_grad=True)
    y = layer(x)
    with torch.no_grad():
        layer.weight.mul_(2)
    y.sum().backward()


def inference_tensor(torch: Any, use: Callable) -> None:
    with torch.inference_mode():
        x = torch.ones(2)
    use(x)


def function(torch: Any, backward: Callable, forward: Callable = lambda ctx, x: x * 2) -> Any:
    return type("Twice", (torch.autograd.Function,),
                {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def through(torch: Any, backward: Callable) -> None:
    function(torch, backward).apply(torch.ones(3, requires_grad=True)).sum().backward()


GRADIENTS = [
    ("backward of many", lambda torch: (leaf(torch) * 2).backward(), RuntimeError),
    ("backward of none", lambda torch: torch.ones(2).sum().backward(), RuntimeError, "element 0"),
    ("backward under no_grad", lambda torch: torch.no_grad()(lambda: leaf(torch).sum())().backward(), RuntimeError),
    ("backward of a detached loss", lambda torch: leaf(torch).sum().detach().backward(), RuntimeError),
    ("backward twice", twice, RuntimeError, "second time", "retain_graph=True"),
    ("gradient's shape", lambda torch: (leaf(torch) * 2).backward(torch.ones(3)), RuntimeError),
    ("gradient of an unused input", lambda torch: torch.autograd.grad(leaf(torch).sum(), leaf(torch)), RuntimeError),
    ("gradient of a constant", lambda torch: torch.autograd.grad(leaf(torch).sum(), torch.ones(2)), RuntimeError),
    ("leaf in place", lambda torch: leaf(torch).add_(1), RuntimeError),
    ("view of a leaf in place", lambda torch: leaf(torch)[0].add_(1), RuntimeError),
    ("leaf assigned", lambda torch: leaf(torch).__setitem__(0, 1.0), RuntimeError),
    ("changed after use", changed_after_use, RuntimeError, "[3]", "version 1", "version 0"),
    ("changed weight", changed_weight, RuntimeError),
    ("expanded written", lambda torch: torch.ones(1).expand(3).add_(1), RuntimeError),
    ("numpy", lambda torch: leaf(torch).numpy(), RuntimeError, "detach().numpy()"),
    ("asarray", lambda torch: np.asarray(leaf(torch)), RuntimeError, "detach().numpy()"),
    ("deepcopy", lambda torch: copy.deepcopy(leaf(torch) * 2), RuntimeError),
    ("requires_grad of a result", lambda torch: set_attribute(leaf(torch) * 2, "requires_grad", False), RuntimeError),
    ("grad's shape", lambda torch: set_attribute(leaf(torch), "grad", torch.ones(3)), RuntimeError),
    ("grad's dtype", lambda torch: set_attribute(leaf(torch), "grad", torch.ones(2).double()), RuntimeError),
    ("grad's class", lambda torch: set_attribute(leaf(torch), "grad", 1.0), TypeError),
    ("retain_grad", lambda torch: torch.ones(2).retain_grad(), RuntimeError),
    ("register_hook", lambda torch: torch.ones(2).register_hook(print), RuntimeError),
    ("hook that returns a number",
     lambda torch: (lambda x: x.register_hook(lambda g: 1.0) and (x * 2).sum().backward())(leaf(torch)), TypeError, LOOSE),
    ("Function called", lambda torch: function(torch, lambda ctx, g: g)()(leaf(torch)), RuntimeError),
    ("Function without backward",
     lambda torch: type("F", (torch.autograd.Function,), {"forward": staticmethod(lambda ctx, x: x * 2)}).apply(
         leaf(torch)).sum().backward(), NotImplementedError),
    ("Function's gradients, too many", lambda torch: through(torch, lambda ctx, g: (g, g)), RuntimeError, "Twice"),
    ("Function's gradient, its shape", lambda torch: through(torch, lambda ctx, g: g[:2]), RuntimeError, "Twice"),
    ("Function's gradient, its class", lambda torch: through(torch, lambda ctx, g: 1.0), RuntimeError),
    ("Function saves a number",
     lambda torch: function(torch, None, lambda ctx, x: ctx.save_for_backward(1)).apply(leaf(torch)), TypeError),
    ("Function returns nothing", lambda torch: function(torch, None, lambda ctx, x: None).apply(leaf(torch)).sum(),
     AttributeError),
    ("no_grad of a value", lambda torch: torch.set_grad_enabled("yes"), TypeError),
    ("set_ data", lambda torch: set_attribute(leaf(torch), "data", [1.0]), TypeError),
    ("data of integers", lambda torch: set_attribute(leaf(torch), "data", torch.ones(3).long()), RuntimeError),
    ("func.grad of many", lambda torch: torch.func.grad(lambda x: x * 2)(torch.ones(2)), RuntimeError),
    ("jvp's tangent", lambda torch: torch.func.jvp(lambda x: x * 2, (torch.ones(2),), (torch.ones(3),)), RuntimeError, LOOSE),
]


def bare(torch: Any, name: str, value: Any) -> None:
    """A module whose __init__ forgot super().__init__()."""
    type("Net", (torch.nn.Module,), {"__init__": lambda self: setattr(self, name, value)})()


def parameter_replaced(torch: Any) -> None:
    torch.nn.Linear(1, 1).weight = torch.ones(1, 1)


def state(torch: Any, change: Callable) -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(2, 3))
    values = layer.state_dict()
    change(values)
    layer.load_state_dict(values)


MODULES = [
    ("missing key", lambda torch: state(torch, lambda d: d.pop("0.weight")), RuntimeError, "Sequential"),
    ("unexpected key", lambda torch: state(torch, lambda d: d.update(extra=d["0.bias"])), RuntimeError, "Sequential"),
    ("size mismatch", lambda torch: state(torch, lambda d: d.update({"0.bias": torch.ones(4)})), RuntimeError),
    ("prefix", lambda torch: state(torch, lambda d: d.update({"module.0.bias": d.pop("0.bias")})), RuntimeError),
    ("not a state dict", lambda torch: torch.nn.Linear(1, 1).load_state_dict([1]), TypeError),
    ("not a tensor", lambda torch: state(torch, lambda d: d.update({"0.bias": 1.0})), RuntimeError),
    ("module before init", lambda torch: bare(torch, "layer", torch.nn.Linear(1, 1)), AttributeError),
    ("parameter before init", lambda torch: bare(torch, "w", torch.nn.Parameter(torch.ones(1))), AttributeError),
    ("unknown attribute", lambda torch: torch.nn.Linear(1, 1).wieght, AttributeError),
    ("no forward", lambda torch: torch.nn.Module()(1), NotImplementedError, "Module"),
    ("tensor for a parameter", parameter_replaced, TypeError),
    ("buffer of a number", lambda torch: torch.nn.Module().register_buffer("b", 1), TypeError),
    ("buffer twice", lambda torch: torch.nn.Linear(1, 1).register_buffer("weight", None), KeyError),
    ("parameter with a dot", lambda torch: torch.nn.Module().register_parameter("a.b", None), KeyError),
    ("parameter of a result",
     lambda torch: torch.nn.Module().register_parameter("a", leaf(torch) * 2), TypeError),
    ("list for modules", lambda torch: torch.nn.Sequential([torch.nn.Linear(1, 1)]), TypeError),
    ("list of functions", lambda torch: torch.nn.ModuleList([len]), TypeError),
    ("unknown submodule", lambda torch: torch.nn.Linear(1, 1).get_submodule("head"), AttributeError),
    ("unknown parameter", lambda torch: torch.nn.Linear(1, 1).get_parameter("head"), AttributeError),
    ("index of Sequential", lambda torch: torch.nn.Sequential(torch.nn.ReLU())[1], IndexError),
    ("key of ModuleDict", lambda torch: torch.nn.ModuleDict()["a"], KeyError),
    ("keyword", lambda torch: torch.nn.Linear(1, 1, biass=True), TypeError),
    ("missing argument", lambda torch: torch.nn.Linear(1), TypeError),
    ("missing input", lambda torch: torch.nn.Linear(1, 1)(), TypeError, "'input'"),
    ("linear", lambda torch: torch.nn.Linear(3, 2)(torch.ones(4, 5)), RuntimeError, "4x5 and 3x2"),
    ("channels", lambda torch: torch.nn.Conv2d(3, 4, 3)(torch.ones(1, 1, 8, 8)), RuntimeError),
    ("convolution's dimensions", lambda torch: torch.nn.Conv2d(3, 4, 3)(torch.ones(8, 8)), RuntimeError),
    ("kernel larger than input", lambda torch: torch.nn.Conv2d(1, 1, 5)(torch.ones(1, 1, 3, 3)), RuntimeError),
    ("pool larger than input", lambda torch: torch.nn.MaxPool2d(4)(torch.ones(1, 1, 3, 3)), RuntimeError),
    ("batch norm's channels", lambda torch: torch.nn.BatchNorm1d(3)(torch.ones(2, 4)), RuntimeError),
    ("batch norm of one", lambda torch: torch.nn.BatchNorm1d(3)(torch.ones(1, 3)), ValueError),
    ("layer norm", lambda torch: torch.nn.LayerNorm(3)(torch.ones(2, 4)), RuntimeError),
    ("reflection", lambda torch: torch.nn.ReflectionPad1d(3)(torch.ones(1, 2)), RuntimeError),
    ("lstm", lambda torch: torch.nn.LSTM(2, 3)(torch.ones(5, 1, 4)), RuntimeError),
    ("attention", lambda torch: torch.nn.MultiheadAttention(4, 2)(*[torch.ones(3, 2, 6)] * 3), AssertionError),
    ("padded lengths", lambda torch: torch.nn.utils.rnn.pack_padded_sequence(torch.ones(3, 2, 1), [1, 3]), RuntimeError),
    ("clip of no tensors", lambda torch: torch.nn.utils.clip_grad_norm_([1.0], 1.0), AttributeError, LOOSE),
    ("init of a vector", lambda torch: torch.nn.init.xavier_uniform_(torch.ones(2)), ValueError),
    ("gain", lambda torch: torch.nn.init.calculate_gain("gelu"), ValueError),
    ("Hardtanh", lambda torch: torch.nn.Hardtanh(2.0, 1.0), AssertionError),
    ("padding mask", lambda torch: torch.nn.MultiheadAttention(4, 2)(*[torch.ones(3, 2, 4)] * 3,
                                                                     key_padding_mask=torch.ones(3, 2)), AssertionError, LOOSE),
    ("groups", lambda torch: torch.nn.Conv2d(3, 4, 3, groups=2), ValueError),
    ("padding same", lambda torch: torch.nn.Conv2d(3, 4, 3, padding="same", stride=2), ValueError),
    ("heads", lambda torch: torch.nn.MultiheadAttention(5, 2), AssertionError),
    ("dropout's p", lambda torch: torch.nn.Dropout(1.5), ValueError),
    ("padding_idx", lambda torch: torch.nn.Embedding(3, 2, padding_idx=5), AssertionError),
    ("hidden state", lambda torch: torch.nn.GRU(2, 3)(torch.ones(5, 1, 2), torch.ones(1, 1, 4)), RuntimeError),
    ("a class in Sequential", lambda torch: torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU), TypeError),
    ("too many inputs", lambda torch: torch.nn.Linear(1, 1)(torch.ones(1), torch.ones(1)), TypeError, LOOSE),
    ("ModuleList called", lambda torch: torch.nn.ModuleList([torch.nn.Linear(1, 1)])(torch.ones(1)), NotImplementedError),
    ("index of a module", lambda torch: torch.nn.Linear(1, 1)[0], TypeError),
    ("parameter of integers", lambda torch: torch.nn.Parameter(torch.ones(2).long()), RuntimeError),
    ("optimizer's state loaded", lambda torch: torch.nn.Linear(2, 2).load_state_dict(sgd(torch).state_dict()), RuntimeError),
    ("a path loaded", lambda torch: torch.nn.Linear(2, 2).load_state_dict("a.pt"), TypeError),
    ("None for a tensor", lambda torch: torch.nn.Linear(2, 2)(None), TypeError),
    ("an array for a tensor", lambda torch: torch.nn.Linear(2, 2)(np.ones((1, 2))), TypeError),
]


NAMES = [
    ("function", lambda torch: torch.zeross(2), AttributeError, "'zeross'"),
    ("of nn", lambda torch: torch.nn.Liner(1, 1), AttributeError, "'Liner'"),
    ("of functional", lambda torch: torch.nn.functional.rellu(torch.ones(1)), AttributeError, "'rellu'"),
    ("of optim", lambda torch: torch.optim.Addam, AttributeError, "'Addam'"),
    ("of a tensor", lambda torch: torch.ones(2).shpe, AttributeError, "'Tensor'", "'shpe'"),
    ("keyword of zeros", lambda torch: torch.zeros(2, devise="cpu"), TypeError),
    ("keyword of sum", lambda torch: torch.ones(2).sum(dims=0), TypeError),
    ("keyword of softmax", lambda torch: torch.nn.functional.softmax(torch.ones(2), dimension=0), TypeError),
    ("keyword of relu", lambda torch: torch.nn.functional.relu(torch.ones(2), in_place=True), TypeError),
    ("keyword of a tensor", lambda torch: torch.tensor([1.0], grad=True), TypeError),
    ("argument missing", lambda torch: torch.matmul(torch.ones(2)), TypeError),
    ("argument twice", lambda torch: torch.nn.Linear(1, 1, in_features=1), TypeError, "'in_features'"),
    ("module called", lambda torch: torch.nn.functional(torch.ones(2)), TypeError, "'module'"),
]

SECTIONS = {"shapes": SHAPES, "dtypes": DTYPES, "ranges": RANGES, "indices": INDICES, "gradients": GRADIENTS,
            "modules": MODULES, "optimizers": OPTIMIZERS, "losses": LOSSES, "data": DATA, "files": FILES,
            "names": NAMES}

# What torch refuses and this library does: the reason belongs to the row.
ALLOWED = [
    ("one of many views in place: pieces are views like any other",
     lambda torch: (leaf(torch, 2, 3) * 1).unbind()[0].add_(1)),
    ("an operand that overlaps with the output: NumPy copies it first",
     lambda torch: (lambda x: x[1:].add_(x[:-1]))(torch.ones(3))),
    ("an array with negative strides", lambda torch: torch.from_numpy(np.arange(3)[::-1])),
    ("a list of tensors of several elements", lambda torch: torch.tensor([torch.ones(2), torch.ones(2)])),
    ("an inference tensor in a graph: no operator pays for a mark on its result",
     lambda torch: inference_tensor(torch, lambda x: x * leaf(torch))),
    ("an inference tensor changed in place: as above", lambda torch: inference_tensor(torch, lambda x: x.add_(1))),
    ("an inference tensor's gradient: as above", lambda torch: inference_tensor(torch, lambda x: x.requires_grad_())),
    ("a product of integers and floats: nothing is lost, and counts times weights are common",
     lambda torch: torch.ones(2, 2) @ torch.ones(2, 2).long()),
    ("a NumPy dtype: arrays are what tensors are made of", lambda torch: torch.ones(2).to(np.float32)),
]
