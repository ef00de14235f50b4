"""A custom training loop with a loss on spike times, then the same data and net through `train.fit`."""

import torch
from torch.nn import functional as F

from firstspike import data, models, train

digits, test = data.load("digits", train=True), data.load("digits", train=False)
net = models.mlp("64-100-10", input_shape=digits.input_shape, steps=8, generator=torch.Generator().manual_seed(0))
optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
order = torch.Generator().manual_seed(1)
for epoch in range(5):
    for index in torch.randperm(len(digits), generator=order).split(64):
        seen = net.observe(digits.images[index])
        # a weak push towards few spikes: the share of hidden neurons that fire, through their spikes' gradients
        spikes = torch.stack([layer.dense().mean() for layer in seen.layers]).mean()
        loss = F.cross_entropy(seen.scores, digits.labels[index]) + 0.1 * spikes
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    print(f"epoch {epoch + 1}, loss {loss:.3f}, test {train.evaluate(net, test).accuracy:.1%}")


# `fit` brings schedule, checkpoints and records; loss, optimizer and what happens after an epoch stay custom.
def margin(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.multi_margin_loss(scores, labels)


result = train.fit(
    train.Config(epochs=2, batch=64, clip=1.0, schedule="linear"),
    model=net,
    datasets=(digits, test),
    loss=margin,
    optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
    callbacks=[lambda epoch, model: print(f"fit, epoch {epoch.epoch}, test {epoch.test.accuracy:.1%}")],
    progress=False,
)
print(f"test accuracy {result.test.accuracy:.1%}")
