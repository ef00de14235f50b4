"""A net in Lightning (pip install lightning). Nothing is special about a spiking net here: it has no state to reset."""

import lightning
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from firstspike import data, models


class Classifier(lightning.LightningModule):
    """A TTFS net with cross-entropy and Adam."""

    def __init__(self) -> None:
        super().__init__()
        self.net = models.mlp("64-100-10", input_shape=(1, 8, 8), steps=8)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def test_step(self, batch: list[torch.Tensor], index: int) -> None:
        x, y = batch
        self.log("accuracy", (self.net(x).argmax(1) == y).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def loader(train: bool) -> DataLoader:
    part = data.load("digits", train=train)
    return DataLoader(TensorDataset(part.images, part.labels), batch_size=64, shuffle=train)


lightning.seed_everything(0)
trainer = lightning.Trainer(max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
model = Classifier()
trainer.fit(model, loader(True))
(measured,) = trainer.test(model, loader(False), verbose=False)
print(f"test accuracy {measured['accuracy']:.1%}")
