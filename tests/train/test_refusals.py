"""What `fit`, `evaluate` and `predict` refuse, and the argument or setting that the message names."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import firstspike
from firstspike import encode, models
from firstspike.train import Augmentation, Config, evaluate, fit, load_data, load_model, predict

from .conftest import make_dataset, run

NET = models.mlp("36-8-4", input_shape=(1, 6, 6), steps=4, generator=torch.Generator().manual_seed(0))
CONFIG = Config(spec="36-8-4", steps=4, epochs=1, batch=16)
SETS = make_dataset(40, 1), make_dataset(20, 2)
SPIKES = tuple((encode.latency(part.images / 255, 4), part.labels) for part in SETS)
LOADERS = tuple(DataLoader(part, batch_size=10) for part in SETS)
FEATURES = tuple((part.images.flatten(1), part.labels) for part in SETS)
OTHER = nn.Parameter(torch.ones(2))


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 4))


class Times(nn.Module):
    """A net whose scores are bytes of spike times, without a gradient."""

    def __init__(self):
        super().__init__()
        self.layer = firstspike.nn.DirectLinear(36, 4, steps=4)

    def forward(self, x):
        return 4 - self.layer(x.flatten(1)).times.float()


def loader(x, y):
    return tuple(DataLoader([0], collate_fn=lambda _: (x, y)) for _ in range(2))


def trained(change=None, sets=SETS, **options):
    """A call of `fit` with some settings changed."""
    return lambda: run(CONFIG.replace(**(change or {})), sets, **options)


PIXELS, LABELS = torch.rand(10, 1, 6, 6), torch.arange(10) % 4
REFUSALS = [
    # settings that do not fit each other, the data, or what is given
    (lambda: fit(CONFIG), ValueError, "data"),
    (lambda: fit(CONFIG.replace(data="digits"), images="somewhere"), ValueError, "data"),
    (lambda: fit(CONFIG, datasets=SETS, images="somewhere"), ValueError, "images"),
    (lambda: fit(CONFIG.replace(data="digits", image_size=8)), ValueError, "image_size"),
    (trained({"spec": ""}), ValueError, "spec"),
    (lambda: fit(Config(steps=4), datasets=SETS, model=dense()), ValueError, "steps"),
    (trained({"label_smoothing": 0.1}, loss=nn.functional.cross_entropy), ValueError, "label_smoothing"),
    (trained({"weight_decay": 0.1}, optimizer=lambda net: 0), ValueError, "weight_decay"),
    (trained({"limit": 41}), ValueError, "limit"),
    (trained({"validation": 40}), ValueError, "validation"),
    (trained({"spec": "37-8-4"}), ValueError, ""),
    (trained({"spec": "36-8-3"}), ValueError, "classes"),
    (trained({"augmentation": Augmentation(shift=1)}, FEATURES), ValueError, "augmentation"),
    (trained(sets=SPIKES), TypeError, "SpikeTimes"),
    (trained({"encoder": "spikes"}), TypeError, "SpikeTimes"),
    (trained({"encoder": "spikes", "steps": 5}, SPIKES), ValueError, "steps"),
    (trained({"standardize": True}, model=NET, sets=SPIKES), ValueError, "standardize"),
    (trained({"device": "cuda:77"}), ValueError, "device"),
    (trained({"device": "meta"}), ValueError, "device"),
    (trained({"limit": 1}, LOADERS), ValueError, "limit"),
    (trained({"validation": 1}, LOADERS), ValueError, "validation"),
    (trained({"standardize": True}, LOADERS), ValueError, "standardize"),
    (trained({"augmentation": Augmentation(flip=True)}, LOADERS), ValueError, "augmentation"),
    (trained({"spec": ""}, model=Times()), ValueError, "losses.times"),
    # data
    (trained(sets=3), TypeError, ""),
    (trained(sets=(SETS[0], 3)), TypeError, "test"),
    (trained(sets=(SETS[0], (PIXELS, LABELS[:5]))), ValueError, "test"),
    (trained(sets=(SETS[0], make_dataset(20, 2, side=8))), ValueError, "shape"),
    (trained(sets=(SETS[0], SETS[1].subset(slice(0, 0)))), ValueError, "sample"),
    (trained(sets=loader(PIXELS, LABELS + 1)), ValueError, "labels"),
    (trained(sets=loader(PIXELS, LABELS.float())), ValueError, "training-loops.md"),
    (trained(sets=((PIXELS, LABELS.float()), SETS[1])), TypeError, "training-loops.md"),
    (trained(sets=((PIXELS, LABELS[:, None]), SETS[1])), ValueError, "training-loops.md"),
    (trained(sets=loader(PIXELS, LABELS[:5])), ValueError, "labels"),
    (trained(sets=loader(PIXELS.int(), LABELS)), TypeError, "input"),
    (trained(sets=loader("text", LABELS)), TypeError, "pairs"),
    (trained(sets=loader(PIXELS[:0], LABELS[:0])), ValueError, "sample"),
    (trained(sets=loader(PIXELS / 0, LABELS)), ValueError, ""),
    (trained(sets=tuple(DataLoader(x, num_workers=1, persistent_workers=True) for x in SETS)), ValueError, "persistent_workers"),
    # net, loss, optimizer
    (trained(model=nn.Flatten()), ValueError, ""),
    (trained(model=nn.Identity()), ValueError, "scores"),
    (trained(loss=lambda scores, labels: scores), ValueError, "loss"),
    (trained(loss=lambda scores, labels: 1.0), ValueError, "loss"),
    (trained(optimizer=lambda net: None), TypeError, "optimizer"),
    (trained(optimizer=lambda net: torch.optim.SGD([OTHER], lr=0.1)), ValueError, "optimizer"),
    (trained({"standardize": True}, model=nn.Linear(36, 4)), ValueError, "standardize"),
    (trained(init_from="/nowhere"), OSError, "nowhere"),
    # evaluate, predict, load
    (lambda: evaluate(3, SETS[1]), TypeError, "model"),
    (lambda: evaluate(NET, 3), TypeError, "dataset"),
    (lambda: evaluate(NET, SETS[1], batch=0), ValueError, "batch"),
    (lambda: evaluate(NET, SETS[1].subset(slice(0, 0))), ValueError, "sample"),
    (lambda: evaluate(NET, (SETS[1].images, SETS[1].labels + 3)), ValueError, "labels"),
    (lambda: evaluate(nn.Identity(), SETS[1]), ValueError, "scores"),
    (lambda: predict(NET, SETS[1]), TypeError, "images"),
    (lambda: predict(NET, SETS[1].images.int()), TypeError, "images"),
    (lambda: predict(NET, torch.rand(2, 1, 5, 5)), ValueError, ""),
    (lambda: load_model(3), TypeError, "path"),
    (lambda: load_data("/nowhere", train=True), OSError, ""),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("call", "error", "name"), REFUSALS)
def test_it_is_refused(call, error, name):
    with pytest.raises(error) as told:
        call()
    assert name in str(told.value)


@pytest.mark.parametrize("timing", ["step", "windowed"])
def test_settings_that_say_what_the_given_net_is_are_no_conflict(timing):
    net = models.build("36-8-4", input_shape=(1, 6, 6), steps=5, timing=timing)
    config = Config(spec="36-8-4", steps=5, timing=timing, epochs=1)
    assert fit(config, datasets=SETS, model=net, progress=False).model is net
    with pytest.raises(ValueError, match="steps must be left at its default"):
        fit(config.replace(steps=6), datasets=SETS, model=net, progress=False)


def test_nothing_is_refused_that_the_table_takes_for_granted():
    for call in (trained(), trained(sets=LOADERS), trained({"encoder": "spikes"}, SPIKES), trained(model=dense())):
        call()
    assert predict(NET, SETS[1].images).shape == (20,)
