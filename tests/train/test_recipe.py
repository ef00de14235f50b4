"""The recipe of a chip: a config whose net `emulator.check` accepts."""

import pytest

from firstspike import emulator, train

SHAPE = (1, 28, 28)
MLP = train.Config(data="mnist", spec="784-256-10")


@pytest.mark.parametrize(
    "asked", [MLP, MLP.replace(timing="windowed"), MLP.replace(decay=0.9, synaptic_decay=0.5), MLP.replace(decay=1.1)]
)
@pytest.mark.parametrize("chip", [name for name in emulator.profile.names() if name != "rtl-ecp5-25"])  # too small for it
def test_every_chip_takes_the_net_of_its_recipe(chip, asked):
    made = train.recipe(asked, chip, input_shape=SHAPE)
    assert emulator.check(train.build_model(made, input_shape=SHAPE), chip).fits
    assert train.recipe(made, chip, input_shape=SHAPE) == made


def test_it_changes_what_the_chip_refuses_and_nothing_else():
    assert train.recipe(MLP, "generic8", input_shape=SHAPE) == MLP
    pooled = MLP.replace(spec="4C3-MP2-10", steps=100)
    assert train.recipe(pooled, "loihi-like", input_shape=SHAPE) == pooled.replace(pooling="avg", steps=63)
    wanted = MLP.replace(encoder="latency", decay=0.9375, synaptic_decay=0.9375, bias=False)
    assert train.recipe(MLP, "xylo-like", input_shape=SHAPE) == wanted
    assert train.recipe(MLP.replace(timing="windowed"), "speck-like", input_shape=SHAPE) == MLP
    assert train.recipe(MLP, "rtl-ecp5-85", input_shape=SHAPE).timing == "windowed"


def test_a_setting_that_contradicts_the_chip_is_told_with_what_it_needs():
    with pytest.raises(ValueError, match="speck-like needs timing = 'step', which other settings contradict: precision"):
        train.recipe(MLP.replace(timing="windowed", precision="bfloat16"), "speck-like", input_shape=SHAPE)


def test_a_refusal_tells_what_had_been_changed_before():
    with pytest.raises(ValueError, match=r"axons in.*changed before: bias: False, not None"):
        train.recipe(MLP.replace(encoder="latency"), "odin-like", input_shape=SHAPE)


@pytest.mark.parametrize("asked", [MLP.replace(encoder="latency"), MLP.replace(model="relu")])
def test_it_refuses_in_one_line_where_no_setting_helps(asked):
    with pytest.raises(ValueError, match="axons in|only spiking nets") as error:
        train.recipe(asked, "odin-like", input_shape=SHAPE)
    assert "\n" not in str(error.value)
