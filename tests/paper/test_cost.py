"""How much work a run is beside others."""

import pytest
from paper.cost import cost
from paper.runs import Run

NET = "32C3-AP2-64C3-AP2-256-10"


def run(**changes):
    return Run.of({"data": "fashion-mnist", "spec": NET, "epochs": 2, **changes})


def test_the_multiply_accumulates_of_a_net_on_its_images():
    # 28 x 28 x 9 x 32 + 14 x 14 x 9 x 32 x 64 + 3136 x 256 + 2560, and 0.3 million for the image itself
    macs = 225_792 + 3_612_672 + 802_816 + 2_560
    assert cost(run()) == 2 * 60_000 * (macs + 0.3e6)
    assert cost(run(limit=1000, epochs=5)) == 5 * 1000 * (macs + 0.3e6)
    assert cost(run(data="digits", spec="64-128-10")) == 2 * 1437 * (64 * 128 + 1280 + 0.3e6)


@pytest.mark.parametrize(
    ("larger", "smaller"),
    [
        (run(spec="64C3-AP2-128C3-AP2-512-10"), run()),
        (run(spec="32C3-AP2-R(64C3-64C3)-AP2-256-10"), run()),
        (run(data="cifar10"), run()),
        (run(), run(model="relu")),
        (run(), run(spec="784-400-400-10")),
        (run(image_size=32), run()),
    ],
)
def test_what_takes_longer_costs_more(larger, smaller):
    assert cost(larger) > cost(smaller)
