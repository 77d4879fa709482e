"""Twelve small models of different kinds: each a script `(torch, steps) -> losses` that runs on either library."""

from __future__ import annotations


def loop(t, model, optimizer, loss_of, steps):
    """The ordinary loop: `loss_of(step)` gives the loss of a step."""
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of(step)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def mlp(t, steps):
    nn = t.nn
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 4))
    x, y = t.randn(32, 8), t.randint(4, (32,))
    optimizer = t.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True)
    return loop(t, model, optimizer, lambda step: nn.functional.cross_entropy(model(x), y, label_smoothing=0.1), steps)


def cnn(t, steps):
    nn = t.nn
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, stride=2, bias=False),
                          nn.GroupNorm(2, 6), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    x, y = t.randn(12, 1, 10, 10), t.randint(3, (12,))
    optimizer = t.optim.Adam(model.parameters(), lr=3e-3)
    return loop(t, model, optimizer, lambda step: nn.functional.cross_entropy(model(x), y), steps)


def resnet(t, steps):
    nn = t.nn

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

        def forward(self, x):
            return (x + self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))).relu()

    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Block(4), nn.AvgPool2d(2), Block(4), nn.Flatten(), nn.Linear(36, 3))
    x, y = t.randn(8, 3, 6, 6), t.randint(3, (8,))
    optimizer = t.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = t.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def loss_of(step):
        if step:
            schedule.step()
        return nn.functional.cross_entropy(model(x), y)

    return loop(t, model, optimizer, loss_of, steps)


def lstm(t, steps):
    nn = t.nn
    table, layer, head = nn.Embedding(11, 6), nn.LSTM(6, 8, num_layers=2, batch_first=True, dropout=0.1), nn.Linear(8, 11)
    parameters = [*table.parameters(), *layer.parameters(), *head.parameters()]
    x = t.randint(11, (6, 9))
    optimizer = t.optim.RMSprop(parameters, lr=2e-3)

    def loss_of(step):
        out, _ = layer(table(x[:, :-1]))
        return nn.functional.cross_entropy(head(out).flatten(0, 1), x[:, 1:].flatten())

    return loop(t, layer, optimizer, loss_of, steps)


def gru(t, steps):
    nn = t.nn
    layer, head = nn.GRU(3, 5, bidirectional=True), nn.Linear(10, 1)
    x, y = t.randn(7, 4, 3), t.randn(4, 1)
    lengths = t.tensor([7, 5, 4, 2])
    optimizer = t.optim.Adagrad([*layer.parameters(), *head.parameters()], lr=0.05)

    def loss_of(step):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths)
        out, _ = nn.utils.rnn.pad_packed_sequence(layer(packed)[0])
        return nn.functional.smooth_l1_loss(head(out.mean(0)), y)

    return loop(t, layer, optimizer, loss_of, steps)


def transformer(t, steps):
    nn = t.nn
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True, norm_first=True, activation="gelu")
    model, head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 5)
    x, y = t.randn(4, 6, 8), t.randint(5, (4, 6))
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    optimizer = t.optim.AdamW([*model.parameters(), *head.parameters()], lr=1e-3)

    def loss_of(step):
        return nn.functional.cross_entropy(head(model(x, mask=mask, is_causal=True)).transpose(1, 2), y)

    return loop(t, model, optimizer, loss_of, steps)


def vae(t, steps):
    nn = t.nn
    encoder = nn.Sequential(nn.Linear(10, 8), nn.ELU(), nn.Linear(8, 4))
    decoder = nn.Sequential(nn.Linear(2, 8), nn.ELU(), nn.Linear(8, 10))
    x = t.rand(16, 10)
    optimizer = t.optim.Adamax([*encoder.parameters(), *decoder.parameters()], lr=2e-3)

    def loss_of(step):
        mean, log_var = encoder(x).chunk(2, 1)
        z = mean + (log_var / 2).exp() * t.randn_like(mean)
        rebuilt = nn.functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") / 16
        return rebuilt - 0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()

    return loop(t, encoder, optimizer, loss_of, steps)


def gan(t, steps):
    nn = t.nn
    maker = nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2), nn.Linear(8, 2))
    judge = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(8, 1))
    of_maker, of_judge = (t.optim.Adam(m.parameters(), lr=2e-3, betas=(0.5, 0.9)) for m in (maker, judge))
    score, losses = nn.BCEWithLogitsLoss(), []
    for _ in range(steps):
        real, fake = t.randn(16, 2) * 0.5 + 1, maker(t.randn(16, 3))
        of_judge.zero_grad()
        bad = score(judge(real), t.ones(16, 1)) + score(judge(fake.detach()), t.zeros(16, 1))
        bad.backward()
        of_judge.step()
        of_maker.zero_grad()
        good = score(judge(fake), t.ones(16, 1))
        good.backward()
        of_maker.step()
        losses += [bad.item(), good.item()]
    return losses


def bag(t, steps):
    nn = t.nn
    table, head = nn.EmbeddingBag(20, 6, mode="mean"), nn.Linear(6, 2)
    words, offsets, y = t.randint(20, (30,)), t.tensor([0, 4, 9, 9, 20]), t.randint(2, (5,))
    optimizer = t.optim.Adadelta([*table.parameters(), *head.parameters()], lr=1.0)
    return loop(t, table, optimizer, lambda step: nn.functional.nll_loss(
        head(table(words, offsets)).log_softmax(1), y, weight=t.tensor([0.7, 1.3], dtype=t.get_default_dtype())), steps)


def autoencoder(t, steps):
    nn = t.nn
    model = nn.Sequential(nn.Conv2d(1, 4, 4, stride=2, padding=1), nn.PReLU(), nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1),
                          nn.InstanceNorm2d(2, affine=True), nn.Mish(), nn.Conv2d(2, 1, 1), nn.Sigmoid())
    x = t.rand(6, 1, 8, 8)
    optimizer = t.optim.NAdam(model.parameters(), lr=2e-3)

    def loss_of(step):
        loss = nn.functional.mse_loss(model(x), x)
        return loss + 1e-4 * sum(p.pow(2).sum() for p in model.parameters())

    return loop(t, model, optimizer, loss_of, steps)


def language_model(t, steps):
    nn = t.nn

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.layer = nn.Embedding(13, 8), nn.RNN(8, 8)
            self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 13, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x):
            return self.head(self.norm(self.layer(self.table(x))[0]))

    model, x = Tied(), t.randint(13, (8, 4))
    optimizer = t.optim.RAdam(model.parameters(), lr=5e-3)

    def loss_of(step):
        return nn.functional.cross_entropy(model(x[:-1]).flatten(0, 1), x[1:].flatten())

    return loop(t, model, optimizer, loss_of, steps)


def regression(t, steps):
    nn = t.nn
    model = nn.Linear(4, 1)
    x, y = t.randn(40, 4), t.randint(2, (40, 1)).to(t.get_default_dtype())
    optimizer = t.optim.LBFGS(model.parameters(), lr=0.5, max_iter=2, history_size=5, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


MODELS = (mlp, cnn, resnet, lstm, gru, transformer, vae, gan, bag, autoencoder, language_model, regression)


def curve(t, model, dtype, steps):
    """The losses of a model's script in one dtype, from seed 0."""
    before = t.get_default_dtype()
    t.set_default_dtype(getattr(t, dtype))
    try:
        t.manual_seed(0)
        return model(t, steps)
    finally:
        t.set_default_dtype(before)
