"""Every layer and loss with arguments and inputs: the tests walk over this list.

A case is the source text of a constructor, evaluated once with our `nn` and once with torch's, and the inputs of its
forward. `f(2, 3)` stands for normal floats of that shape and `p(...)` for floats in (0, 1), both with gradients;
`u(...)` for floats in (0, 1), `i(n, 2)` for integers below n, `s(...)` for signs 1.0 and -1.0, `b(...)` for bools.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 20261122


@dataclass(frozen=True)
class Case:
    """One module: constructor, inputs, and what to compare more loosely than bit for bit."""

    source: str
    inputs: str = ""

    def build(self, nn: Any, torch: Any) -> Any:
        """The module, made by the namespace `nn` (ours or torch's)."""
        return eval(self.source, {"nn": nn, "torch": torch})  # noqa: S307

    def arguments(self, to_tensor: Callable[[np.ndarray], Any]) -> tuple:
        """The inputs of forward, as tensors; the same numbers every time."""
        return eval(f"({self.inputs},)", _makers(to_tensor))  # noqa: S307


def _makers(to_tensor: Callable[[np.ndarray], Any]) -> dict[str, Callable]:
    draw = np.random.default_rng(SEED)
    return {
        "f": lambda *shape: to_tensor(draw.standard_normal(shape).astype(np.float32)).requires_grad_(True),
        "p": lambda *shape: to_tensor(draw.uniform(0.05, 0.95, shape).astype(np.float32)).requires_grad_(True),
        "u": lambda *shape: to_tensor(draw.uniform(0.05, 0.95, shape).astype(np.float32)),
        "i": lambda high, *shape: to_tensor(draw.integers(0, high, shape)),
        "s": lambda *shape: to_tensor((draw.integers(0, 2, shape) * 2 - 1).astype(np.float32)),
        "b": lambda *shape: to_tensor(draw.integers(0, 2, shape).astype(bool)),
        "t": lambda values: to_tensor(np.array(values)),
    }


def _all(inputs: str, *sources: str) -> list[Case]:
    return [Case(source, inputs) for source in sources]


ACTIVATIONS = [
    *_all(
        "f(3, 4)",
        "nn.Identity(1, two=2)",
        "nn.ReLU()",
        "nn.ReLU6()",
        "nn.Sigmoid()",
        "nn.Tanh()",
        "nn.LogSigmoid()",
        "nn.Softsign()",
        "nn.Tanhshrink()",
        "nn.SiLU()",
        "nn.Mish()",
        "nn.SELU()",
        "nn.Hardswish()",
        "nn.Hardsigmoid()",
        "nn.Hardtanh(-0.5, 0.7)",
        "nn.LeakyReLU(0.2)",
        "nn.RReLU()",
        "nn.RReLU().eval()",
        "nn.ELU(0.7)",
        "nn.CELU(0.7)",
        "nn.Threshold(0.1, 20)",
        "nn.GELU()",
        "nn.GELU('tanh')",
        "nn.GLU()",
        "nn.Softplus(2.0, 10.0)",
        "nn.Hardshrink(0.4)",
        "nn.Softshrink(0.4)",
        "nn.PReLU()",
        "nn.PReLU(4, init=0.1)",
        "nn.Softmax(dim=1)",
        "nn.LogSoftmax(dim=0)",
        "nn.Softmin(-1)",
    ),
    Case("nn.Softmax2d()", "f(2, 3, 2, 2)"),
]

LINEAR = [
    Case("nn.Linear(4, 3)", "f(2, 4)"),
    Case("nn.Linear(4, 3, bias=False)", "f(2, 5, 4)"),
    Case("nn.Linear(4, 3)", "f(4)"),
    Case("nn.Bilinear(3, 4, 2)", "f(5, 3), f(5, 4)"),
    Case("nn.Bilinear(3, 4, 2, bias=False)", "f(5, 3), f(5, 4)"),
    Case("nn.Flatten()", "f(2, 3, 4)"),
    Case("nn.Flatten(0, 1)", "f(2, 3, 4)"),
    Case("nn.Unflatten(1, (2, 3))", "f(2, 6)"),
    Case("nn.Embedding(10, 3)", "i(10, 2, 4)"),
    Case("nn.Embedding(10, 3, padding_idx=-1)", "i(10, 6)"),
    Case("nn.Embedding(10, 3, max_norm=1.0)", "i(10, 6)"),
    Case("nn.Embedding(10, 3, scale_grad_by_freq=True)", "i(3, 9)"),
    Case("nn.EmbeddingBag(10, 3)", "i(10, 2, 4)"),
    Case("nn.EmbeddingBag(10, 3, mode='sum')", "i(10, 6), t([0, 2])"),
    Case("nn.EmbeddingBag(10, 3, mode='max')", "i(10, 2, 4)"),
    Case("nn.EmbeddingBag(10, 3, padding_idx=1)", "i(3, 2, 4)"),
    Case("nn.CosineSimilarity()", "f(3, 4), f(3, 4)"),
    Case("nn.PairwiseDistance()", "f(3, 4), f(3, 4)"),
    Case("nn.PairwiseDistance(1.0, keepdim=True)", "f(3, 4), f(3, 4)"),
    Case("nn.DataParallel(nn.Linear(2, 1))", "f(3, 2)"),
]

CONVOLUTIONS = [
    Case("nn.Conv1d(4, 6, 3)", "f(2, 4, 8)"),
    Case("nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False)", "f(2, 4, 9)"),
    Case("nn.Conv1d(4, 6, 3, padding='same')", "f(2, 4, 8)"),
    Case("nn.Conv1d(2, 3, 3, padding=2, padding_mode='circular')", "f(2, 2, 5)"),
    Case("nn.Conv2d(3, 4, 3)", "f(2, 3, 6, 5)"),
    Case("nn.Conv2d(3, 4, (3, 2), padding=(1, 0), stride=2)", "f(3, 6, 5)"),
    Case("nn.Conv2d(4, 4, 3, groups=4, padding='same', dilation=2)", "f(1, 4, 6, 6)"),
    Case("nn.Conv2d(2, 4, 3, padding=1, padding_mode='reflect')", "f(1, 2, 4, 4)"),
    Case("nn.Conv2d(2, 4, 4, padding='same', padding_mode='replicate')", "f(1, 2, 4, 4)"),
    Case("nn.Conv2d(2, 4, 3, padding='valid')", "f(1, 2, 4, 4)"),
    Case("nn.Conv3d(2, 3, 2, padding=1)", "f(1, 2, 3, 3, 3)"),
    Case("nn.ConvTranspose1d(4, 6, 3, stride=2)", "f(2, 4, 5)"),
    Case("nn.ConvTranspose1d(4, 6, 3, stride=2)", "f(2, 4, 5), [12]"),
    Case("nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)", "f(2, 4, 5, 5)"),
    Case("nn.ConvTranspose2d(2, 3, 2, bias=False, dilation=2)", "f(1, 2, 3, 3)"),
    Case("nn.ConvTranspose3d(2, 3, 2)", "f(1, 2, 2, 2, 2)"),
    Case("nn.Unfold((2, 3), padding=1, stride=2)", "f(2, 2, 5, 6)"),
    Case("nn.Fold((4, 5), (2, 3), padding=1)", "f(2, 12, 25)"),
]

POOLING = [
    Case("nn.MaxPool1d(3)", "f(2, 3, 7)"),
    Case("nn.MaxPool2d(3, 2, 1)", "f(2, 3, 7, 6)"),
    Case("nn.MaxPool2d((2, 3), dilation=2, ceil_mode=True)", "f(2, 3, 7, 7)"),
    Case("nn.MaxPool2d(2, return_indices=True)", "f(2, 3, 4, 4)"),
    Case("nn.MaxPool3d(2)", "f(1, 2, 4, 4, 4)"),
    Case("nn.MaxUnpool1d(2)", "f(1, 2, 2), t([[[0, 3], [1, 2]]])"),
    Case("nn.MaxUnpool2d(2)", "f(1, 1, 1, 2), t([[[[0, 7]]]])"),
    Case("nn.MaxUnpool3d(2)", "f(1, 1, 1, 1, 1), t([[[[[5]]]]])"),
    Case("nn.AvgPool1d(3, 2, 1)", "f(2, 3, 7)"),
    Case("nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)", "f(2, 3, 7, 6)"),
    Case("nn.AvgPool2d(2, ceil_mode=True, divisor_override=3)", "f(2, 3, 5, 5)"),
    Case("nn.AvgPool3d(2)", "f(1, 2, 4, 4, 4)"),
    Case("nn.LPPool1d(2, 3, stride=2)", "p(2, 3, 7)"),
    Case("nn.LPPool2d(2, 2)", "p(2, 3, 4, 4)"),
    Case("nn.LPPool3d(1, 2)", "p(1, 2, 4, 4, 4)"),
    Case("nn.AdaptiveAvgPool1d(3)", "f(2, 3, 7)"),
    Case("nn.AdaptiveAvgPool2d((2, None))", "f(2, 3, 7, 5)"),
    Case("nn.AdaptiveAvgPool2d(1)", "f(2, 3, 7, 5)"),
    Case("nn.AdaptiveAvgPool3d(2)", "f(1, 2, 3, 4, 5)"),
    Case("nn.AdaptiveMaxPool1d(3)", "f(2, 3, 7)"),
    Case("nn.AdaptiveMaxPool2d((2, 3), return_indices=True)", "f(2, 3, 7, 5)"),
    Case("nn.FractionalMaxPool2d(2, output_size=(3, 4))", "f(2, 3, 7, 9)"),
    Case("nn.FractionalMaxPool2d((3, 2), output_ratio=0.5, return_indices=True)", "f(3, 7, 9)"),
    Case("nn.FractionalMaxPool3d(2, output_ratio=(0.5, 0.6, 0.4))", "f(2, 3, 7, 6, 8)"),
    Case("nn.AdaptiveMaxPool3d(2)", "f(1, 2, 3, 4, 5)"),
]

NORMALISATION = [
    Case("nn.BatchNorm1d(4)", "f(5, 4)"),
    Case("nn.BatchNorm1d(4)", "f(5, 4, 3)"),
    Case("nn.BatchNorm1d(4).eval()", "f(5, 4)"),
    Case("nn.BatchNorm1d(4, momentum=None)", "f(5, 4)"),
    Case("nn.BatchNorm1d(4, affine=False, track_running_stats=False)", "f(5, 4)"),
    Case("nn.BatchNorm1d(4, track_running_stats=False).eval()", "f(5, 4)"),
    Case("nn.BatchNorm1d(4, bias=False)", "f(5, 4)"),
    Case("nn.BatchNorm2d(3, eps=1e-3, momentum=0.3)", "f(2, 3, 4, 4)"),
    Case("nn.BatchNorm3d(3)", "f(2, 3, 2, 2, 2)"),
    Case("nn.SyncBatchNorm(3)"),
    Case("nn.InstanceNorm1d(3)", "f(2, 3, 5)"),
    Case("nn.InstanceNorm1d(3, affine=True, track_running_stats=True)", "f(2, 3, 5)"),
    Case("nn.InstanceNorm2d(3, affine=True)", "f(3, 4, 4)"),
    Case("nn.InstanceNorm3d(3)", "f(2, 3, 2, 2, 2)"),
    Case("nn.LayerNorm(4)", "f(2, 3, 4)"),
    Case("nn.LayerNorm((3, 4), bias=False)", "f(2, 3, 4)"),
    Case("nn.LayerNorm([4], elementwise_affine=False)", "f(2, 3, 4)"),
    Case("nn.RMSNorm(4)", "f(2, 3, 4)"),
    Case("nn.RMSNorm((3, 4), eps=1e-3, elementwise_affine=False)", "f(2, 3, 4)"),
    Case("nn.GroupNorm(2, 4)", "f(2, 4, 3)"),
    Case("nn.GroupNorm(2, 4, affine=False)", "f(2, 4, 3, 3)"),
    Case("nn.LocalResponseNorm(2)", "f(2, 4, 3)"),
    Case("nn.CrossMapLRN2d(3)"),
    Case("nn.Dropout(0.3)", "f(4, 5)"),
    Case("nn.Dropout(0.3).eval()", "f(4, 5)"),
    Case("nn.Dropout1d(0.3)", "f(4, 5, 2)"),
    Case("nn.Dropout2d(0.3)", "f(4, 5, 2, 2)"),
    Case("nn.Dropout3d(0.3)", "f(4, 5, 2, 2, 2)"),
    Case("nn.AlphaDropout(0.3)", "f(4, 5)"),
    Case("nn.FeatureAlphaDropout(0.3)", "f(4, 5, 2)"),
]

RESHAPING = [
    *_all("f(2, 3, 5)", "nn.ZeroPad1d(1)", "nn.ConstantPad1d((1, 2), 3.5)", "nn.ReflectionPad1d((2, 1))"),
    *_all("f(2, 3, 5)", "nn.ReplicationPad1d(2)", "nn.CircularPad1d((1, 2))"),
    *_all(
        "f(2, 3, 4, 5)", "nn.ZeroPad2d(1)", "nn.ConstantPad2d((1, 2, 0, -1), 3.5)", "nn.ReflectionPad2d((2, 1, 0, 3))"
    ),
    *_all("f(2, 3, 4, 5)", "nn.ReplicationPad2d(2)", "nn.CircularPad2d((1, 2, 1, 0))"),
    *_all("f(1, 2, 3, 3, 3)", "nn.ZeroPad3d(1)", "nn.ConstantPad3d(1, 2.0)", "nn.ReflectionPad3d(1)"),
    *_all("f(1, 2, 3, 3, 3)", "nn.ReplicationPad3d(1)", "nn.CircularPad3d(1)"),
    Case("nn.Upsample(scale_factor=2)", "f(1, 2, 3)"),
    Case("nn.Upsample(size=(5, 4))", "f(1, 2, 3, 3)"),
    Case("nn.Upsample(scale_factor=(2, 3), mode='bilinear')", "f(1, 2, 3, 3)"),
    Case("nn.Upsample(scale_factor=2, mode='bicubic', align_corners=True)", "f(1, 2, 3, 3)"),
    Case("nn.UpsamplingNearest2d(scale_factor=2)", "f(1, 2, 3, 3)"),
    Case("nn.UpsamplingBilinear2d(size=5)", "f(1, 2, 3, 3)"),
    Case("nn.PixelShuffle(2)", "f(1, 8, 3, 2)"),
    Case("nn.PixelUnshuffle(2)", "f(1, 2, 4, 6)"),
    Case("nn.ChannelShuffle(2)", "f(1, 4, 2, 2)"),
]

LOSSES = [
    *_all(
        "f(3, 4), f(3, 4)", "nn.L1Loss()", "nn.L1Loss(reduction='sum')", "nn.MSELoss()", "nn.MSELoss(reduction='none')"
    ),
    *_all("f(3, 4), f(3, 4)", "nn.SmoothL1Loss(beta=0.5)", "nn.HuberLoss(delta=0.5)"),
    *_all(
        "f(5, 3), i(3, 5)",
        "nn.CrossEntropyLoss()",
        "nn.CrossEntropyLoss(torch.tensor([0.1, 1.0, 2.0]), label_smoothing=0.1)",
        "nn.CrossEntropyLoss(ignore_index=1, reduction='sum')",
        "nn.NLLLoss()",
        "nn.NLLLoss(torch.tensor([0.1, 1.0, 2.0]), reduction='none')",
        "nn.MultiMarginLoss()",
        "nn.MultiMarginLoss(p=2, margin=0.5, weight=torch.tensor([0.1, 1.0, 2.0]))",
    ),
    Case("nn.CrossEntropyLoss()", "f(5, 3), u(5, 3)"),
    Case("nn.LinearCrossEntropyLoss(4, 3)", "f(5, 4), i(3, 5)"),
    Case("nn.LinearCrossEntropyLoss(4, 3, out_features=(2,), bias=True, reduction='sum')", "f(5, 4), i(3, 5, 2)"),
    Case("nn.CrossEntropyLoss()", "f(2, 3, 4, 4), i(3, 2, 4, 4)"),
    Case("nn.PoissonNLLLoss(full=True)", "f(3, 4), u(3, 4)"),
    Case("nn.GaussianNLLLoss(full=True)", "f(3, 4), f(3, 4), u(3, 4)"),
    Case("nn.KLDivLoss(reduction='batchmean')", "f(3, 4), u(3, 4)"),
    Case("nn.KLDivLoss(reduction='sum', log_target=True)", "f(3, 4), f(3, 4)"),
    Case("nn.BCELoss()", "p(3, 4), u(3, 4)"),
    Case("nn.BCELoss(torch.tensor([0.1, 1.0, 2.0, 3.0]))", "p(3, 4), u(3, 4)"),
    Case("nn.BCEWithLogitsLoss(pos_weight=torch.tensor([0.1, 1.0, 2.0, 3.0]))", "f(3, 4), u(3, 4)"),
    Case("nn.HingeEmbeddingLoss()", "f(3, 4), s(3, 4)"),
    Case("nn.SoftMarginLoss()", "f(3, 4), s(3, 4)"),
    Case("nn.MultiLabelSoftMarginLoss()", "f(3, 4), u(3, 4)"),
    Case("nn.MultiLabelMarginLoss()", "f(1, 4), t([[3, 0, -1, 1]])"),
    Case("nn.CosineEmbeddingLoss(0.2)", "f(3, 4), f(3, 4), s(3)"),
    Case("nn.MarginRankingLoss(0.2)", "f(3), f(3), s(3)"),
    Case("nn.TripletMarginLoss(swap=True)", "f(3, 4), f(3, 4), f(3, 4)"),
    Case("nn.TripletMarginWithDistanceLoss(distance_function=nn.PairwiseDistance())", "f(3, 4), f(3, 4), f(3, 4)"),
    Case("nn.AdaptiveLogSoftmaxWithLoss(16, 12, [3, 6])", "f(6, 16), t([0, 2, 3, 11, 5, 7])"),
    Case("nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3], div_value=2, head_bias=True)", "f(8), t(2)"),
    Case("nn.CTCLoss()", "f(5, 2, 4), i(3, 2, 2), t([5, 4]), t([2, 1])"),
    Case("nn.CTCLoss(3, 'none', True)", "f(5, 4), i(3, 3), t([2]), t([3])"),
]

RECURRENT = [
    Case("nn.RNN(3, 4)", "f(5, 2, 3)"),
    Case("nn.RNN(3, 4, 2, 'relu', bidirectional=True, batch_first=True)", "f(2, 5, 3)"),
    Case("nn.RNN(3, 4)", "f(5, 3), f(1, 4)"),
    Case("nn.GRU(3, 4, num_layers=2, dropout=0.5)", "f(5, 2, 3), f(2, 2, 4)"),
    Case("nn.GRU(3, 4, bias=False, bidirectional=True)", "f(5, 2, 3)"),
    Case("nn.LSTM(3, 4, num_layers=2, batch_first=True)", "f(2, 5, 3)"),
    Case("nn.LSTM(3, 4, bidirectional=True, bias=False)", "f(5, 2, 3), (f(2, 2, 4), f(2, 2, 4))"),
    Case("nn.LSTM(3, 4, proj_size=2)", "f(5, 2, 3)"),
    Case("nn.LSTM(3, 4)", "f(5, 3)"),
    Case("nn.RNNCell(3, 4)", "f(2, 3)"),
    Case("nn.RNNCell(3, 4, nonlinearity='relu', bias=False)", "f(2, 3), f(2, 4)"),
    Case("nn.GRUCell(3, 4)", "f(2, 3), f(2, 4)"),
    Case("nn.LSTMCell(3, 4)", "f(2, 3), (f(2, 4), f(2, 4))"),
    Case("nn.LSTMCell(3, 4)", "f(3)"),
]

ATTENTION = [
    Case("nn.MultiheadAttention(4, 2)", "*[f(3, 2, 4)] * 3"),
    Case("nn.MultiheadAttention(4, 2, batch_first=True, dropout=0.3)", "*[f(2, 3, 4)] * 3"),
    Case("nn.MultiheadAttention(4, 2, bias=False)", "f(3, 2, 4), f(5, 2, 4), f(5, 2, 4), b(2, 5)"),
    Case("nn.MultiheadAttention(4, 2, kdim=3, vdim=5)", "f(3, 2, 4), f(5, 2, 3), f(5, 2, 5)"),
    Case(
        "nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True)",
        "f(3, 4), *[f(5, 4)] * 2, None, True, b(3, 5)",
    ),
    Case("nn.MultiheadAttention(4, 2)", "*[f(3, 2, 4)] * 3, None, False, f(4, 3, 3)"),
    Case("nn.MultiheadAttention(4, 2)", "*[f(3, 2, 4)] * 3, None, True, None, False"),
    Case("nn.TransformerEncoderLayer(4, 2, 8)", "f(3, 2, 4)"),
    Case("nn.TransformerEncoderLayer(4, 2, 8, 0.0, nn.GELU(), norm_first=True, batch_first=True)", "f(2, 3, 4)"),
    Case("nn.TransformerEncoderLayer(4, 2, 8, activation='gelu', bias=False)", "f(3, 2, 4), f(3, 3)"),
    Case("nn.TransformerDecoderLayer(4, 2, 8)", "f(3, 2, 4), f(5, 2, 4)"),
    Case("nn.TransformerDecoderLayer(4, 2, 8, norm_first=True)", "f(3, 2, 4), f(5, 2, 4)"),
    Case(
        "nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2, nn.LayerNorm(4), enable_nested_tensor=False)",
        "f(3, 2, 4)",
    ),
    Case("nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2)", "f(3, 2, 4), f(5, 2, 4)"),
    Case("nn.Transformer(4, 2, 1, 2, 8)", "f(5, 2, 4), f(3, 2, 4)"),
]

CONTAINERS = [
    Case("nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2), nn.Dropout()))", "f(2, 3)"),
    Case("nn.Sequential()", "f(2, 3)"),
    Case("nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Tanh())])"),
    Case("nn.ModuleList()"),
    Case("nn.ModuleDict({'b': nn.Linear(2, 2), 'a': nn.Sequential(nn.ReLU())})"),
    Case("nn.ParameterList([torch.zeros(2, 3), nn.Parameter(torch.ones(1)), 'text'])"),
    Case("nn.ParameterDict({'b': torch.zeros(2, 3), 'a': nn.Parameter(torch.ones(1)), 'c': 3})"),
]

CASES = [
    *ACTIVATIONS,
    *LINEAR,
    *CONVOLUTIONS,
    *POOLING,
    *NORMALISATION,
    *RESHAPING,
    *LOSSES,
    *RECURRENT,
    *ATTENTION,
    *CONTAINERS,
]
