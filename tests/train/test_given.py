"""A folder goes on with the loss, the optimizer, the first weights and the data that its run began with, and no others."""

import functools
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from firstspike import save, train
from firstspike.train import BadCheckpoint
from firstspike.train.identity import fingerprint

from .test_own_nets import chain
from .test_own_parts import Dense, curves, run


def made(kind=torch.optim.SGD, **settings):
    return {"optimizer": lambda net: kind(net.parameters(), **settings)}


def smoothed(share):
    return {"loss": functools.partial(F.cross_entropy, label_smoothing=share)}


def weighed(first, **settings):
    return {"loss": nn.CrossEntropyLoss(weight=torch.tensor([first, 1.0, 1.0, 1.0]), **settings)}


OTHERS = {
    "a rate": (made(lr=0.1), made(lr=0.2), r"optimizer\.0\.lr: 0\.2, not 0\.1"),
    "a class": (
        made(lr=0.1),
        made(torch.optim.Adam, lr=0.1),
        r"optimizer: torch\.optim\.adam\.Adam, not torch\.optim\.sgd\.SGD",
    ),
    "a partial": (
        smoothed(0.1),
        smoothed(0.2),
        r"loss: torch\.nn\.functional\.cross_entropy\(label_smoothing=0\.2\), not .*\(label_smoothing=0\.1\)",
    ),
    "weights of a loss": (
        weighed(1.0),
        weighed(2.0),
        r"loss: torch\.nn\.modules\.loss\.CrossEntropyLoss\(.*weight=sha256",
    ),
    "a setting of a loss": (weighed(1.0), weighed(1.0, label_smoothing=0.1), r"loss: .*label_smoothing=0\.1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_loss_or_optimizer_is_refused(name, config, sets, tmp_path):
    first, other, message = OTHERS[name]
    config = config.replace(epochs=1)
    result = run(config, sets, directory=tmp_path, **first)
    for epochs in (1, 2):
        with pytest.raises(BadCheckpoint, match=rf"with other settings \({message}"):
            run(config.replace(epochs=epochs), sets, directory=tmp_path, **other)
    assert run(config, sets, directory=tmp_path, **first) == result
    assert len(run(config.replace(epochs=2), sets, directory=tmp_path, **first).history) == 2


def test_a_record_that_does_not_tell_is_not_compared(config, sets, tmp_path):
    config = config.replace(epochs=1)
    run(config, sets, directory=tmp_path, **made(lr=0.1))
    for name in ("result.json", "checkpoint.json"):
        record = json.loads((tmp_path / name).read_text())
        assert record.pop("details")["optimizer.0.lr"] == "0.1"
        (tmp_path / name).write_text(json.dumps(record))
    assert run(config, sets, directory=tmp_path, **made(lr=0.2)).details == {}
    assert len(run(config.replace(epochs=2), sets, directory=tmp_path, **made(lr=0.2)).history) == 2


def test_other_first_weights_are_refused(config, sets, tmp_path):
    config = config.replace(spec="", epochs=1)
    other = chain()
    nn.init.zeros_(other[1].weight)
    save(chain(), tmp_path / "one")
    save(other, tmp_path / "other")
    run(config, sets, model=chain(), init_from=tmp_path / "one", directory=tmp_path / "run")
    for start in (tmp_path / "other", None):
        with pytest.raises(BadCheckpoint, match=r"with other settings \(init_from: (sha256|none).*, not sha256 "):
            run(config, sets, model=chain(), init_from=start, directory=tmp_path / "run")
    run(config, sets, model=chain(), init_from=tmp_path / "one", directory=tmp_path / "run")


def test_other_loaders_are_refused(config, sets, tmp_path):
    def loader(samples=150, batch=16):
        return DataLoader(TensorDataset(sets[0].images[:samples], sets[0].labels[:samples]), batch_size=batch)

    config = config.replace(epochs=1)
    run(config, (loader(), sets[1]), directory=tmp_path)
    with pytest.raises(BadCheckpoint, match=r"on other data \(train: a DataLoader with batch = 15, not 16\)"):
        run(config, (loader(batch=15), sets[1]), directory=tmp_path)
    (tmp_path / "result.json").unlink()
    with pytest.raises(BadCheckpoint, match=r"on other data \(train: a DataLoader with samples = 149, not 150\)"):
        run(config, (loader(samples=149), sets[1]), directory=tmp_path)
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    del record["data"]["train"]["batch"], record["data"]["train"]["batches"]
    (tmp_path / "checkpoint.json").write_text(json.dumps(record))
    run(config, (loader(batch=15), sets[1]), directory=tmp_path)


def test_a_net_resumes_whether_it_is_compiled_or_not(config, sets, tmp_path):
    config = config.replace(spec="")
    run(config.replace(epochs=1), sets, model=torch.compile(chain(), backend="eager"), directory=tmp_path)
    run(config.replace(epochs=2), sets, model=chain(), directory=tmp_path)
    for name in ("result.json", "checkpoint.json"):
        record = json.loads((tmp_path / name).read_text())
        record["given"]["model"] = "torch._dynamo.eval_frame.OptimizedModule"  # as version 0.2 did before
        (tmp_path / name).write_text(json.dumps(record))
    assert len(run(config, sets, model=chain(), directory=tmp_path).history) == 3


class Scaled(nn.Module):
    """A cross-entropy with a scale that is learned, and a buffer that counts its calls."""

    def __init__(self, start=1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(start))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, scores, labels):
        self.calls += 1
        return F.cross_entropy(scores * self.scale, labels)


def test_what_a_loss_learns_resumes_with_it(config, sets, tmp_path):
    config = config.replace(spec="", schedule="constant")

    def trained(epochs, folder):
        torch.manual_seed(0)
        loss = Scaled()
        both = lambda net: torch.optim.SGD([*net.parameters(), *loss.parameters()], lr=0.1, momentum=0.9)  # noqa: E731
        result = run(config.replace(epochs=epochs), sets, model=Dense(), loss=loss, optimizer=both, directory=folder)
        return curves(result), loss.scale.item(), loss.calls.item()

    whole = trained(3, tmp_path / "whole")
    trained(2, tmp_path / "parts")
    assert trained(3, tmp_path / "parts") == whole and whole[1] != 1.0 and whole[2] == 30
    with pytest.raises(train.Diverged, match=r"loss\.scale holds NaN or infinity before training"):
        run(config, sets, model=Dense(), loss=Scaled(float("nan")))


def test_a_loss_with_buffers_that_changed_is_refused_with_advice(config, sets, tmp_path):
    config, loss = config.replace(spec="", epochs=1), Scaled().requires_grad_(False)
    run(config, sets, model=Dense(), loss=loss, directory=tmp_path)
    with pytest.raises(train.BadCheckpoint, match=r"loss: .* has to be made anew for each call"):
        run(config, sets, model=Dense(), loss=loss, directory=tmp_path)
    loss = Scaled().requires_grad_(False)
    assert len(run(config.replace(epochs=2), sets, model=Dense(), loss=loss, directory=tmp_path).history) == 2


def test_a_loss_that_sums_by_a_partial_is_refused(config, sets):
    with pytest.raises(ValueError, match="loss must be the mean over a batch or one value per sample"):
        run(config, sets, loss=functools.partial(F.cross_entropy, reduction="sum"))


def test_texts_of_values():
    assert (
        fingerprint(functools.partial(F.mse_loss, reduction="none")) == "torch.nn.functional.mse_loss(reduction='none')"
    )
    tensors = [torch.arange(3).to(kind) for kind in (torch.float32, torch.bfloat16, torch.complex64, torch.int8)]
    assert len({fingerprint(value) for value in tensors}) == 4
    assert fingerprint(tensors[0]) == fingerprint(tensors[0].clone()) != fingerprint(tensors[0] + 1)
    assert fingerprint([1, {"a": torch.tensor(0.5)}, None, len]) == "[1, {a=0.5}, None, builtins.len]"
    assert (
        fingerprint("x" * 300) == fingerprint("x" * 300) != fingerprint("x" * 299 + "y")
        and len(fingerprint("x" * 300)) < 200
    )
    layer = nn.Linear(2, 2)
    before = fingerprint(layer), fingerprint(layer, [layer.weight])
    nn.init.zeros_(layer.weight)
    assert fingerprint(layer) != before[0] and fingerprint(layer, [layer.weight]) == before[1]


def test_a_parameter_of_neither_net_nor_loss_is_refused_where_it_would_be_lost(config, sets, tmp_path):
    config, shift = config.replace(spec="", epochs=1), nn.Parameter(torch.zeros(4))
    given = {
        "loss": lambda scores, labels: F.cross_entropy(scores + shift, labels),
        "optimizer": lambda net: torch.optim.SGD([*net.parameters(), shift], lr=0.1),
    }
    run(config, sets, model=Dense(), **given)
    assert shift.abs().sum() > 0
    with pytest.raises(ValueError, match="optimizer must have parameters of the net, or of a loss that is a module"):
        run(config, sets, model=Dense(), directory=tmp_path, **given)


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        ({"spec": "", "steps": 8}, {"model": chain}, None),
        ({"spec": "", "steps": 6}, {"model": chain}, "steps must be left at 8 where model= is given, .* got 6"),
        ({"spec": "", "model": "relu"}, {"model": chain}, "model must be left at 'ttfs' where model= is given"),
        ({"spec": "", "dropout": 0.5}, {"model": chain}, "dropout must be left at 0.0 where model= is given"),
        (
            {"label_smoothing": 0.1},
            {"loss": lambda: F.cross_entropy},
            "label_smoothing must be left at 0.0 where loss=",
        ),
        ({"lr": 0.01}, made(lr=0.1), "lr must be left at 0.001 where optimizer= is given"),
        ({"weight_decay": 0.1}, made(lr=0.1), "weight_decay must be left at 0.0 where optimizer= is given"),
    ],
)
def test_settings_that_have_no_effect_are_refused(change, given, message, sets):
    config = train.Config(data="digits", spec="36-24-4", epochs=1, batch=16).replace(**change)
    given = {name: value if name == "optimizer" else value() for name, value in given.items()}
    if message is None:
        assert len(train.fit(config, datasets=sets, progress=False, **given).history) == 1
        return
    with pytest.raises(ValueError, match=f"^{message}"):
        train.fit(config, datasets=sets, progress=False, **given)
