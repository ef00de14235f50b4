"""What the adviser measures is what the changed net does."""

from __future__ import annotations

import pytest
import torch

from firstspike import data, energy, inspect, models, nn

TEST = data.load("digits", train=False)


def accuracy(net, part=slice(1, None, 2)):
    with torch.no_grad():
        return float((net(TEST.images[part]).argmax(1) == TEST.labels[part]).double().mean())


def row(table, name):
    return table[table["change"] == name].iloc[0]


def test_a_net_of_windows():
    net = models.load_pretrained("digits-windowed")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    table = inspect.advise(net, TEST.images, TEST.labels, counted=40)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    whole = table.iloc[0]
    assert whole["energy_nj"] == pytest.approx(inspect.profile(net, TEST.images[:40])["energy_nj"].iloc[-1])
    assert whole["choice_accuracy"] == pytest.approx(accuracy(net, slice(0, None, 2)))
    assert whole["accuracy"] == pytest.approx(accuracy(net)) and whole["steps"] == net.score_steps[-1]
    window = row(table, "an input window of 7 steps")
    short = models.load_pretrained("digits-windowed")
    short.encoder = nn.WindowedEncoder(7)
    expected = energy.accounts(inspect.counts(short, TEST.images[:40])).total
    assert window["energy_nj"] == pytest.approx(expected) and window["accuracy"] == pytest.approx(accuracy(short), abs=0.003)
    assert window["steps"] == net.latency + 7 and window["share"] == pytest.approx(expected / whole["energy_nj"])
    good = table[1:-1][table["choice_accuracy"][1:-1] >= whole["choice_accuracy"] - 0.01]
    assert list(good["energy_nj"]) == sorted(good["energy_nj"]) and list(good.index) == list(range(1, len(good) + 1))
    assert table["energy_nj"].isna().tolist() == [False] * (len(table) - 1) + [True]  # the penalty
    assert table.attrs["relu_nj"] == pytest.approx(energy.relu(inspect.counts(net, TEST.images[:40])))


@pytest.mark.parametrize("encoder", ["direct", "latency"])
def test_a_step_by_step_net(encoder):
    draw = torch.Generator().manual_seed(0)
    net = models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8, encoder=encoder, readout="membrane-mean", generator=draw).eval()
    table = inspect.advise(net, TEST.images, TEST.labels, counted=40)
    for after in (2, 4, 6):
        stopped = row(table, f"stop after step {after}")
        short = models.stop_after(net, after)
        assert stopped["accuracy"] == pytest.approx(accuracy(short), abs=0.003) and stopped["steps"] == after
        assert stopped["energy_nj"] == pytest.approx(energy.accounts(inspect.counts(short, TEST.images[:40])).total)
    names = " ".join(table["change"])
    assert ("latency code in place of direct coding" in names) == (encoder == "direct")
    assert ("4 in place of 8 steps" in names) == (encoder == "latency")
    pruned = row(table, "the smallest 80% of the weights 0")
    assert pruned["energy_nj"] < row(table, "the smallest 50% of the weights 0")["energy_nj"] < table["energy_nj"][0]


def test_the_choice_does_not_see_the_images_of_the_accuracy():
    net, labels = models.load_pretrained("digits-windowed"), TEST.labels.clone()
    labels[1::2] = (labels[1::2] + 1) % 10
    before, after = (inspect.advise(net, TEST.images, right, counted=20) for right in (TEST.labels, labels))
    same = ["change", "choice_accuracy", "steps", "energy_nj", "setting"]
    assert before[same].equals(after[same]) and (after["accuracy"][:-1] < 0.2).all()


def test_bad_input():
    net = models.mlp("64-32-10", input_shape=(1, 8, 8), steps=8)
    with pytest.raises(ValueError, match="images must hold at least two samples"):
        inspect.advise(net, TEST.images[:1], TEST.labels[:1])
    with pytest.raises(ValueError, match="labels"):
        inspect.advise(net, TEST.images, TEST.labels[:5])
    with pytest.raises(ValueError, match="most_lost"):
        inspect.advise(net, TEST.images, TEST.labels, most_lost=2)
    with pytest.raises(ValueError, match="payload"):
        inspect.advise(net, TEST.images, TEST.labels, schedule="payload")
