"""Networks of the usual kinds and sizes, written once for both libraries: `torch` is the library given.

Each function returns the modules that `rows.py` trains or runs; data are random numbers of the right shape.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


def mlp(torch: ModuleType, *sizes: int) -> Any:
    """Linear layers with ReLU between them."""
    layers: list[Any] = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def small_cnn(torch: ModuleType) -> Any:
    """The seed document's network for 3 x 32 x 32: two convolutions with pooling, two linear layers."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 16, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2),
        nn.Conv2d(16, 32, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2),
        nn.Flatten(), nn.Linear(32 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def resnet18(torch: ModuleType) -> Any:
    """ResNet-18 (He et al. 2016) in its form for 32 x 32 images: a 3 x 3 stem without pooling."""
    nn = torch.nn

    def normed(channels: int, outputs: int, size: int, stride: int) -> list[Any]:
        convolution = nn.Conv2d(channels, outputs, size, stride, size // 2, bias=False)
        return [convolution, nn.BatchNorm2d(outputs)]

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, channels: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(*normed(channels, outputs, 3, stride), nn.ReLU(), *normed(outputs, outputs, 3, 1))
            same = stride == 1 and channels == outputs
            self.shortcut = nn.Sequential(*([] if same else normed(channels, outputs, 1, stride)))
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.shortcut(x))

    layers, channels = [*normed(3, 64, 3, 1), nn.ReLU()], 64
    for outputs, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        layers.append(Block(channels, outputs, stride))
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def resnet50(torch: ModuleType, depths: tuple[int, ...] = (3, 4, 6, 3), base: int = 64) -> Any:
    """ResNet-50 (He et al. 2016) for 224 x 224 images and 1000 classes, with the stride in the 3 x 3 convolutions."""
    nn = torch.nn

    def normed(channels: int, outputs: int, size: int, stride: int = 1) -> list[Any]:
        return [nn.Conv2d(channels, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]

    class Bottleneck(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, channels: int, width: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(*normed(channels, width, 1), nn.ReLU(), *normed(width, width, 3, stride), nn.ReLU(),
                                      *normed(width, 4 * width, 1))  # fmt: skip
            same = stride == 1 and channels == 4 * width
            self.shortcut = nn.Sequential(*([] if same else normed(channels, 4 * width, 1, stride)))
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.shortcut(x))

    layers, channels = [*normed(3, base, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], base
    for stage, depth in enumerate(depths):
        for i in range(depth):
            layers.append(Bottleneck(channels, base << stage, 2 if stage and not i else 1))
            channels = 4 * (base << stage)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def mobilenet(torch: ModuleType) -> Any:
    """Depthwise and pointwise convolutions in turn (Howard et al. 2017), for 32 x 32."""
    nn = torch.nn
    layers, channels = [nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()], 32
    for outputs, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        layers += [nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), nn.BatchNorm2d(channels)]
        layers += [nn.ReLU(), nn.Conv2d(channels, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def unet(torch: ModuleType) -> Any:
    """A U-Net (Ronneberger et al. 2015) of three levels, 16 to 64 channels, for one channel in and out."""
    nn = torch.nn

    def twice(channels: int, outputs: int) -> Any:
        return nn.Sequential(nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(),
                             nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU())  # fmt: skip

    class UNet(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList([twice(1, 16), twice(16, 32)])
            self.middle = twice(32, 64)
            self.ups = nn.ModuleList([nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)])
            self.after = nn.ModuleList([twice(64, 32), twice(32, 16)])
            self.pool, self.last = nn.MaxPool2d(2), nn.Conv2d(16, 1, 1)

        def forward(self, x: Any) -> Any:
            kept = []
            for block in self.down:
                kept.append(block(x))
                x = self.pool(kept[-1])
            x = self.middle(x)
            for up, block in zip(self.ups, self.after):
                x = block(torch.cat([up(x), kept.pop()], 1))
            return self.last(x)

    return UNet()


def transformer(torch: ModuleType, layers: int, width: int, heads: int, vocabulary: int, context: int,
                causal: bool) -> Any:  # fmt: skip
    """Tokens to logits: pre-norm blocks of attention and a four times wider GELU network (GPT if `causal`, else BERT)."""
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Any, cache: list | None) -> Any:
            n, length, _ = x.shape
            parts = self.qkv(self.norm1(x)).reshape(n, length, 3, heads, width // heads)
            q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
            if cache is not None:
                if cache:
                    k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
                cache[:] = [k, v]
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=causal and cache is None)
            x = x + self.out(seen.transpose(1, 2).reshape(n, length, width))
            return x + self.mlp(self.norm2(x))

    class Transformer(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
            self.blocks = nn.ModuleList([Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens: Any, caches: list | None = None, start: int = 0) -> Any:
            x = self.tokens(tokens) + self.places(torch.arange(start, start + tokens.shape[1], device=tokens.device))
            for i, block in enumerate(self.blocks):
                x = block(x, None if caches is None else caches[i])
            return self.head(self.norm(x))

    return Transformer()


def recurrent(torch: ModuleType, kind: str) -> Any:
    """A two-layer LSTM or GRU of 128 units over 64 features, and a linear layer on its last output."""
    nn = torch.nn

    class Recurrent(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.core = getattr(nn, kind)(64, 128, 2, batch_first=True)
            self.head = nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.core(x)[0][:, -1])

    return Recurrent()


def vae(torch: ModuleType) -> Any:
    """The usual variational autoencoder (Kingma and Welling 2013) for 28 x 28: 784-400-20-400-784; returns its loss."""
    nn, functional = torch.nn, torch.nn.functional

    class VAE(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.mean, self.log_var = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
            self.decode = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())

        def forward(self, x: Any) -> Any:
            hidden = functional.relu(self.encode(x))
            mean, log_var = self.mean(hidden), self.log_var(hidden)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
            distance = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
            return functional.binary_cross_entropy(self.decode(z), x, reduction="sum") + distance

    return VAE()


def dcgan(torch: ModuleType) -> tuple[Any, Any]:
    """(generator, discriminator) of Radford et al. 2015 for 3 x 32 x 32, with 64 channels at the widest image."""
    nn = torch.nn
    up: list[Any] = [nn.ConvTranspose2d(100, 256, 4, 1, 0, bias=False), nn.BatchNorm2d(256), nn.ReLU()]
    for channels in (256, 128):
        up += [nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(channels // 2), nn.ReLU()]
    up += [nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh()]
    down: list[Any] = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for channels in (64, 128):
        down += [nn.Conv2d(channels, channels * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(channels * 2), nn.LeakyReLU(0.2)]
    down += [nn.Conv2d(256, 1, 4, 1, 0, bias=False), nn.Flatten()]
    return nn.Sequential(*up), nn.Sequential(*down)
