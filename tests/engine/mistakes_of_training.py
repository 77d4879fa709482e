"""The rows of `mistakes.py` about training: optimizers, losses, data and files."""

from __future__ import annotations

import io
import pickle
from typing import Any

from .tables import LOOSE, set_attribute


def weights(torch: Any) -> list:
    return [torch.nn.Parameter(torch.ones(2))]


def sgd(torch: Any, **options: Any) -> Any:
    return torch.optim.SGD(weights(torch), lr=0.1, **options)


def stepped(scheduler: Any, times: int) -> None:
    for _ in range(times):
        scheduler.optimizer.step()
        scheduler.step()


OPTIMIZERS = [
    ("no parameters", lambda torch: torch.optim.SGD([], lr=0.1), ValueError),
    ("a tensor", lambda torch: torch.optim.SGD(torch.nn.Parameter(torch.ones(2)), lr=0.1), TypeError),
    ("a number", lambda torch: torch.optim.SGD([1.0], lr=0.1), TypeError),
    ("a module", lambda torch: torch.optim.SGD(torch.nn.Linear(1, 1), lr=0.1), TypeError),
    ("a result", lambda torch: torch.optim.SGD([weights(torch)[0] * 2], lr=0.1), ValueError),
    ("negative lr", lambda torch: torch.optim.Adam(weights(torch), lr=-1.0), ValueError),
    ("betas", lambda torch: torch.optim.Adam(weights(torch), betas=(0.9, 1.0)), ValueError),
    ("eps", lambda torch: torch.optim.Adam(weights(torch), eps=-1.0), ValueError),
    ("momentum", lambda torch: sgd(torch, momentum=-1.0), ValueError),
    ("nesterov", lambda torch: sgd(torch, nesterov=True), ValueError),
    ("weight_decay", lambda torch: sgd(torch, weight_decay=-1.0), ValueError),
    ("keyword", lambda torch: torch.optim.Adam(weights(torch), learning_rate=0.1), TypeError),
    ("parameter in two groups",
     lambda torch: (lambda w: torch.optim.SGD([{"params": w}, {"params": w}], lr=0.1))(weights(torch)), ValueError),
    ("LBFGS without closure", lambda torch: torch.optim.LBFGS(weights(torch)).step(), TypeError, "closure", LOOSE),
    ("state of other groups",
     lambda torch: sgd(torch).load_state_dict({"state": {}, "param_groups": []}), ValueError),
    ("state of other parameters",
     lambda torch: sgd(torch).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]}), ValueError),
    ("group not a dict", lambda torch: sgd(torch).add_param_group([1]), TypeError),
    ("not an optimizer", lambda torch: torch.optim.lr_scheduler.StepLR(1, 2), TypeError),
    ("last_epoch", lambda torch: torch.optim.lr_scheduler.StepLR(sgd(torch), 2, last_epoch=3), KeyError),
    ("lambdas", lambda torch: torch.optim.lr_scheduler.LambdaLR(sgd(torch), [len, len]), ValueError),
    ("plateau's factor", lambda torch: torch.optim.lr_scheduler.ReduceLROnPlateau(sgd(torch), factor=1.5), ValueError),
    ("plateau's mode", lambda torch: torch.optim.lr_scheduler.ReduceLROnPlateau(sgd(torch), mode="up"), ValueError),
    ("plateau without metrics", lambda torch: torch.optim.lr_scheduler.ReduceLROnPlateau(sgd(torch)).step(), TypeError),
    ("OneCycleLR's steps", lambda torch: torch.optim.lr_scheduler.OneCycleLR(sgd(torch), 0.1), ValueError),
    ("OneCycleLR too far",
     lambda torch: stepped(torch.optim.lr_scheduler.OneCycleLR(sgd(torch, momentum=0.9), 0.1, total_steps=3), 4),
     ValueError),
    ("T_0", lambda torch: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd(torch), 0), ValueError),
    ("no schedulers", lambda torch: torch.optim.lr_scheduler.SequentialLR(sgd(torch), [], []), ValueError),
]


def loss(torch: Any, name: str, *shapes: Any, **options: Any) -> Any:
    return getattr(torch.nn, name)(**options)(*[torch.ones(*shape) for shape in shapes])


def cross_entropy(torch: Any, classes: list, *size: int, **options: Any) -> Any:
    return torch.nn.functional.cross_entropy(torch.ones(*size), torch.tensor(classes), **options)


LOSSES = [
    ("cross_entropy's batch", lambda torch: cross_entropy(torch, [0, 1, 1], 2, 3), ValueError),
    ("cross_entropy's class", lambda torch: cross_entropy(torch, [0, 3], 2, 3), IndexError),
    ("cross_entropy's dtype", lambda torch: cross_entropy(torch, [0.0, 1.0], 2, 3), RuntimeError),
    ("cross_entropy of columns", lambda torch: cross_entropy(torch, [[0], [1]], 2, 3), RuntimeError),
    ("cross_entropy's weight", lambda torch: cross_entropy(torch, [0, 1], 2, 3, weight=torch.ones(2)), RuntimeError),
    ("cross_entropy's reduction", lambda torch: cross_entropy(torch, [0, 1], 2, 3, reduction="avg"), ValueError),
    ("cross_entropy's smoothing", lambda torch: cross_entropy(torch, [0, 1], 2, 3, label_smoothing=2.0), RuntimeError),
    ("nll_loss", lambda torch: torch.nn.NLLLoss()(torch.ones(2, 3), torch.tensor([1])), ValueError),
    ("bce's shape", lambda torch: loss(torch, "BCELoss", (2,), (2, 1)), ValueError),
    ("bce's range", lambda torch: torch.nn.BCELoss()(torch.tensor([1.5]), torch.ones(1)), RuntimeError),
    ("bce's logits", lambda torch: loss(torch, "BCEWithLogitsLoss", (2,), (2, 1)), ValueError),
    ("bce of integers", lambda torch: torch.nn.BCELoss()(torch.ones(2), torch.tensor([1, 0])), RuntimeError),
    ("mse", lambda torch: loss(torch, "MSELoss", (2,), (3,)), RuntimeError),
    ("l1's reduction", lambda torch: loss(torch, "L1Loss", (2,), (2,), reduction="avg"), ValueError),
    ("huber's delta", lambda torch: loss(torch, "HuberLoss", (2,), (2,), delta=0), RuntimeError),
    ("cosine", lambda torch: loss(torch, "CosineEmbeddingLoss", (2, 3), (2, 3), (2, 2)), RuntimeError),
    ("size_average", lambda torch: torch.nn.MSELoss(average=True), TypeError),
    ("cross_entropy of integers", lambda torch: torch.nn.functional.cross_entropy(torch.ones(2, 3).long(),
                                                                                  torch.tensor([0, 1])), NotImplementedError),
    ("nll_loss's weight", lambda torch: torch.nn.functional.nll_loss(torch.ones(2, 3), torch.tensor([0, 1]),
                                                                     weight=torch.ones(4)), RuntimeError),
    ("bce's target", lambda torch: torch.nn.BCELoss()(torch.tensor([0.5]), torch.tensor([2.0])), RuntimeError),
    ("mse of integers", lambda torch: torch.nn.MSELoss()(torch.ones(2).long(), torch.ones(2).long()), NotImplementedError),
    ("multi_margin's class", lambda torch: torch.nn.MultiMarginLoss()(torch.ones(2, 3), torch.tensor([0, 5])), RuntimeError),
    ("multilabel_margin's shape",
     lambda torch: torch.nn.MultiLabelMarginLoss()(torch.ones(2, 3), torch.tensor([[0, 1]])), RuntimeError),
    ("ctc's lengths", lambda torch: torch.nn.CTCLoss()(torch.zeros(5, 2, 4), torch.ones(2, 2).long(), [5, 9], [2, 2]),
     RuntimeError),
    ("affine_grid", lambda torch: torch.nn.functional.affine_grid(torch.ones(1, 3, 3), (1, 1, 2, 2)), ValueError, LOOSE),
]


class Numbers:
    """A map-style dataset of what it was given."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def loader(torch: Any, *items: Any, **options: Any) -> Any:
    return torch.utils.data.DataLoader(Numbers(*items or (1, 2)), **options)


def stream(torch: Any, **options: Any) -> Any:
    kind = type("Stream", (torch.utils.data.IterableDataset,), {"__iter__": lambda self: iter([1])})
    return torch.utils.data.DataLoader(kind(), **options)


DATA = [
    ("batch_size 0", lambda torch: loader(torch, batch_size=0), ValueError),
    ("num_workers", lambda torch: loader(torch, num_workers=-1), ValueError),
    ("timeout", lambda torch: loader(torch, timeout=-1), ValueError),
    ("prefetch_factor", lambda torch: loader(torch, prefetch_factor=2), ValueError),
    ("persistent_workers", lambda torch: loader(torch, persistent_workers=True), ValueError),
    ("shuffle and sampler", lambda torch: loader(torch, shuffle=True, sampler=[0]), ValueError),
    ("batch_sampler and batch_size", lambda torch: loader(torch, batch_sampler=[[0]], batch_size=2), ValueError),
    ("shuffle a stream", lambda torch: stream(torch, shuffle=True), ValueError),
    ("length of a stream", lambda torch: len(stream(torch)), TypeError),
    ("keyword", lambda torch: loader(torch, batchsize=2), TypeError),
    ("attribute after init", lambda torch: set_attribute(loader(torch), "batch_size", 2), ValueError),
    ("samples of several sizes",
     lambda torch: list(loader(torch, torch.ones(2), torch.ones(3), batch_size=2)), RuntimeError),
    ("samples of no known class", lambda torch: list(loader(torch, object(), object(), batch_size=2)), TypeError),
    ("lists of several lengths", lambda torch: list(loader(torch, [1], [1, 2], batch_size=2)), RuntimeError),
    ("sampler past the end", lambda torch: list(loader(torch, sampler=[5])), IndexError),
    ("empty and shuffled", lambda torch: torch.utils.data.RandomSampler(Numbers(), num_samples=0), ValueError),
    ("TensorDataset", lambda torch: torch.utils.data.TensorDataset(torch.ones(2), torch.ones(3)), AssertionError),
    ("random_split", lambda torch: torch.utils.data.random_split(Numbers(1, 2), [1, 2]), ValueError),
    ("random_split's parts", lambda torch: torch.utils.data.random_split(Numbers(1, 2), [0.5, 0.6]), ValueError),
    ("Dataset", lambda torch: torch.utils.data.Dataset()[0], NotImplementedError),
    ("weights", lambda torch: torch.utils.data.WeightedRandomSampler([1.0], 0), ValueError),
    ("None in a batch", lambda torch: list(loader(torch, None, None, batch_size=2)), TypeError),
    ("samples with other keys", lambda torch: list(loader(torch, {"a": 1}, {"b": 1}, batch_size=2)), (KeyError, RuntimeError),
     LOOSE),
    ("a number for a dataset", lambda torch: list(torch.utils.data.DataLoader(5)), TypeError),
    ("next of a loader", lambda torch: next(loader(torch)), TypeError),
    ("batch_size of a fraction", lambda torch: list(loader(torch, batch_size=1.5)), (ValueError, TypeError), LOOSE),
]


def read(torch: Any, content: bytes, **options: Any) -> Any:
    return torch.load(io.BytesIO(content), **options)


def write_and_read(torch: Any, thing: Any, **options: Any) -> Any:
    file = io.BytesIO()
    torch.save(thing, file)
    return read(torch, file.getvalue(), **options)


FILES = [
    ("no such file", lambda torch: torch.load("no/such/file.pt"), FileNotFoundError, "no/such/file.pt"),
    ("no such folder", lambda torch: torch.save({}, "no/such/file.pt"), RuntimeError, "no/such", LOOSE),
    ("empty file", lambda torch: read(torch, b""), EOFError),
    ("a picture", lambda torch: read(torch, b"\x89PNG\r\n\x1a\n" + bytes(64)), pickle.UnpicklingError, LOOSE),
    ("a class", lambda torch: read(torch, pickle.dumps({"a": Numbers(1)}, 2)), pickle.UnpicklingError, LOOSE),
    ("a device", lambda torch: write_and_read(torch, torch.ones(2), map_location="gpu"), RuntimeError, "gpu"),
    ("save without a file", lambda torch: torch.save({}), TypeError),
]
