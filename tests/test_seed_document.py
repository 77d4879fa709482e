"""What the software was asked for: the programs of its first user's document, topic by topic.

Two lines differ from what was written there: `import engine as torch` and `import lit as pl`.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as torch
import lit as pl
from engine import nn
from engine.nn import functional as F

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class MyNetwork(nn.Module):
    """Two convolutions and two linear layers: images [N, 3, 32, 32] to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(32 * 8 * 8, 128)
        self.fc2 = nn.Linear(128, 10)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Any) -> Any:
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = x.view(-1, 32 * 8 * 8)
        return self.fc2(torch.relu(self.fc1(x)))


class LitModel(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = MyNetwork()

    def forward(self, x: Any) -> Any:
        return self.model(x)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.001)


def images(count: int = 8, batch_size: int = 4) -> Any:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(count, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(pictures, labels), batch_size=batch_size)


# ---------------------------------------------------------------------------------------------- tensors and devices


def test_integer_and_float_matrices_multiply() -> None:
    x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert x.dtype == torch.int64 and (x + 2).tolist() == [[3, 4, 5], [6, 7, 8]]
    z = torch.matmul(x, torch.ones(3, 2))  # torch refuses mixed types here; we promote
    assert z.dtype == torch.float32 and z.tolist() == [[6.0, 6.0], [15.0, 15.0]]


def test_a_tensor_moves_to_the_gpu_or_says_what_is_missing() -> None:
    x = torch.tensor([1.0])
    if torch.cuda.is_available():
        assert x.to("cuda").device.type == "cuda"
        return
    for move in (lambda: x.to("cuda"), lambda: nn.Linear(1, 1).to("cuda"), lambda: torch.ones(1, device="cuda")):
        with pytest.raises(RuntimeError, match=r"CuPy|CUDA") as error:
            move()
        assert "HINT" in str(error.value)


def test_tensors_live_among_numpy_arrays() -> None:
    array = np.arange(3.0)
    assert torch.from_numpy(array).numpy() is not None
    assert np.asarray(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert torch.tensor(array).tolist() == [0.0, 1.0, 2.0]


def test_control_flow_is_plain_python() -> None:
    def forward(x: Any, depth: int) -> Any:
        for _ in range(depth):
            x = x * 2 if x.sum() < 10 else x + 1
        return x

    x = torch.ones(2, requires_grad=True)
    forward(x, 4).sum().backward()
    assert x.grad.tolist() == [8.0, 8.0]  # 2, 4, 8 (the sum is 16 now), 9


# ---------------------------------------------------------------------------------------- automatic differentiation


def test_the_gradient_of_a_mean() -> None:
    x = torch.ones(2, 2, requires_grad=True)
    z = (x * 2).mean()
    z.backward()
    assert str(x.grad) == "tensor([[0.5000, 0.5000],\n        [0.5000, 0.5000]])"


def test_a_graph_of_three_leaves_prints_and_differentiates() -> None:
    x = torch.tensor([2.0], requires_grad=True)
    w = torch.tensor([3.0], requires_grad=True)
    b = torch.tensor([1.0], requires_grad=True)
    y = w * x + b
    loss = (y - 5) ** 2
    assert repr(y) == "tensor([7.], grad_fn=<AddBackward0>)"
    assert repr(loss) == "tensor([4.], grad_fn=<PowBackward0>)"
    loss.backward()
    assert (x.grad.item(), w.grad.item(), b.grad.item()) == (12.0, 8.0, 4.0)


def test_the_chain_rule_holds_factor_by_factor() -> None:
    x, w = torch.tensor(1.5), torch.tensor(-0.5, requires_grad=True)
    y = w * x
    loss = torch.sin(y)
    (outer,) = torch.autograd.grad(loss, y, retain_graph=True)
    (inner,) = torch.autograd.grad(y, w, retain_graph=True)
    (whole,) = torch.autograd.grad(loss, w)
    assert whole.item() == pytest.approx((outer * inner).item()) == pytest.approx(math.cos(-0.75) * 1.5)


def test_gradient_descent_by_hand() -> None:
    w = torch.tensor([2.0], requires_grad=True)
    b = torch.tensor([0.0], requires_grad=True)
    x, y_true, learning_rate = torch.tensor([1.0]), torch.tensor([5.0]), 0.1
    for _ in range(100):
        loss = (w * x + b - y_true) ** 2
        loss.backward()
        with torch.no_grad():
            w -= learning_rate * w.grad
            b -= learning_rate * b.grad
            w.grad.zero_()
            b.grad.zero_()
    assert w.requires_grad and w.is_leaf
    assert (w.item(), b.item()) == pytest.approx((3.5, 1.5))


def test_an_update_in_place_needs_no_grad() -> None:
    w = torch.tensor([2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        w -= 1.0


def test_back_propagation_through_time() -> None:
    torch.manual_seed(0)
    linear1, linear2, linear3 = nn.Linear(4, 10), nn.Linear(10, 10), nn.Linear(10, 2)
    sequence = [torch.randn(1, 4) for _ in range(6)]

    def loss_of(start: Any) -> Any:
        hidden, loss = start, 0
        for element in sequence:
            hidden = torch.tanh(linear1(element) + linear2(hidden))
            loss += F.mse_loss(linear3(hidden), torch.ones(1, 2))
        return loss

    start = torch.zeros(1, 10, requires_grad=True)
    loss_of(start).backward()
    nudge = torch.full((1, 10), 1e-2)
    with torch.no_grad():
        difference = (loss_of(nudge) - loss_of(-nudge)).item()
    assert difference == pytest.approx(2e-2 * start.grad.sum().item(), rel=1e-2)
    assert all(p.grad.abs().sum() > 0 for layer in (linear1, linear2, linear3) for p in layer.parameters())


def test_gradient_norms_are_watched_and_clipped() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    (100 * model(torch.randn(5, 4))).pow(2).sum().backward()

    def gradient_norm() -> float:
        total_norm = 0
        for p in model.parameters():
            param_norm = p.grad.detach().data.norm(2)
            total_norm += param_norm.item() ** 2
        return total_norm**0.5

    before = gradient_norm()
    returned = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    assert before > 1.0 and returned.item() == pytest.approx(before, rel=1e-5)
    assert gradient_norm() == pytest.approx(1.0, rel=1e-4)


def test_a_function_with_a_backward_of_its_own() -> None:
    class CustomFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, input: Any) -> Any:
            ctx.save_for_backward(input)
            return input.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (input,) = ctx.saved_tensors
            grad_input = grad_output.clone()
            grad_input[input < 0] = 0
            return grad_input

    custom_relu = CustomFunction.apply
    x = torch.tensor([-1.0, 2.0, -3.0, 4.0], requires_grad=True)
    y = custom_relu(x)
    assert y.tolist() == [0.0, 2.0, 0.0, 4.0] and "CustomFunctionBackward" in repr(y)
    (y * torch.arange(4.0)).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0, 3.0]


# ------------------------------------------------------------------------------------------------- building models


def test_a_sequential_model() -> None:
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    assert model(torch.zeros(2, 784)).shape == (2, 10)
    assert sum(p.numel() for p in model.parameters()) == 235_146
    assert repr(model).splitlines()[1] == "  (0): Linear(in_features=784, out_features=256, bias=True)"


def test_a_model_of_ones_own() -> None:
    model = MyNetwork()
    assert model(torch.randn(4, 3, 32, 32)).shape == (4, 10)
    assert [name for name, _ in model.named_parameters()] == [
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")
    ]


# -------------------------------------------------------------------------------------------------------- training


def test_the_training_loop(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    model = MyNetwork().to(DEVICE)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    num_epochs, data_loader = 5, images()
    for epoch in range(num_epochs):
        for inputs, targets in data_loader:
            inputs, targets = inputs.to(DEVICE), targets.to(DEVICE)
            outputs = model(inputs)
            loss = criterion(outputs, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"Epoch {epoch + 1}/{num_epochs}, Loss: {loss.item():.4f}")
    lines = capsys.readouterr().out.splitlines()
    losses = [float(re.fullmatch(r"Epoch \d/5, Loss: (\d+\.\d{4})", line).group(1)) for line in lines]  # type: ignore[union-attr]
    assert len(losses) == 5 and losses[-1] < losses[0]


# ---------------------------------------------------------------------------------------------- saving and loading


def test_the_entire_model_is_saved_and_loaded(tmp_path: Path) -> None:
    model, x = MyNetwork(), torch.randn(2, 3, 32, 32)
    torch.save(model, tmp_path / "model.pth")
    again = torch.load(tmp_path / "model.pth")
    assert type(again) is MyNetwork and torch.equal(again(x), model(x))


def test_the_state_dictionary_is_saved_and_loaded(tmp_path: Path) -> None:
    model, x = MyNetwork(), torch.randn(2, 3, 32, 32)
    torch.save(model.state_dict(), str(tmp_path / "model_weights.pth"))
    again = MyNetwork()
    again.load_state_dict(torch.load(str(tmp_path / "model_weights.pth")))
    assert torch.equal(again(x), model(x))


# --------------------------------------------------------------------------------------------- the higher interface


def test_a_trainer_fits_the_module(tmp_path: Path) -> None:
    pl.seed_everything(0)
    model = LitModel()
    before = model.model.fc2.weight.detach().clone()
    trainer = pl.Trainer(max_epochs=2, accelerator=DEVICE, default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.fit(model, images(), images())
    assert trainer.global_step == 4 and trainer.current_epoch == 2
    assert not torch.equal(model.model.fc2.weight.cpu(), before)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.filterwarnings("ignore:.*no usable GPU was found")
def test_the_old_flag_for_gpus_is_still_understood(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="gpus"):
        trainer = pl.Trainer(max_epochs=1, gpus=1, default_root_dir=tmp_path, enable_progress_bar=False)
    assert trainer.strategy.root_device.type == DEVICE  # without a GPU it says so and trains on the CPU
    trainer.fit(LitModel(), images())
    assert trainer.global_step == 2
