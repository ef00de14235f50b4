"""Reports in all forms; energy is counters times table, part by part; latency with delays and silence."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from firstspike import SpikeTimes, energy
from firstspike import emulator as em
from firstspike.emulator import Program
from firstspike.emulator.program.host import Encoder, Readout
from firstspike.emulator.program.layers import Synapses
from firstspike.emulator.reporting.cost import account_of as account
from firstspike.emulator.reporting.cost import first_layer, traffic
from firstspike.emulator.reporting.report import latency

from ..nets import chained, changed, dense, images, net


@pytest.fixture(scope="module")
def ran():
    model = net()
    labels = torch.arange(40) % 5
    return em.run(em.quantize(model, "loihi-like"), images(model), labels=labels)


def test_a_placement_of_another_program_is_refused(ran):
    first, *others = ran.program.layers
    for other in (
        em.quantize(net(), "loihi-like", bits=4),
        ran.program.replace(profile=ran.program.profile.replace(bias_bits=9)),
        ran.program.replace(layers=[changed(first, stride=(2, 2), padding=(2, 2)), *others]),
    ):
        with pytest.raises(ValueError, match="placement must be of the program that was run"):
            em.report(ran, placement=em.Placement(other, [], [], 1))


def test_report_in_all_forms(ran, tmp_path):
    expected = ran.predictions.copy()
    expected[3] = (expected[3] + 1) % 5
    made = em.report(ran, placement=em.place(ran.program), tables=["loihi-davies2018", "45nm-float"], float_predictions=expected)
    summary = made.summary()
    assert summary["accuracy"] == ran.accuracy and summary["mismatches"] == 1
    part = em.report(ran, float_predictions=expected, samples=np.arange(100, 140))
    assert made.mismatches()["sample"].tolist() == [3] and part.mismatches()["sample"].tolist() == [103]
    whole = json.loads(made.to_json())
    assert whole["summary"]["energy_nj_per_image"]["45nm-float"] == made.accounts[1].total
    assert [row["layer"] for row in whole["layers"]] == [layer.name for layer in (ran.program.pixels, *ran.program.layers)]
    assert whole["profile"]["sources"]["weight_bits"]
    text = made.text()
    assert "NaN" not in text and "static: power or time of a step is unknown, not counted" in text
    page = made.write_html(tmp_path / "r.html").read_text()
    layers = page.partition("Means per image")[2].partition("</table>")[0]
    assert "unknown" not in layers and "–" in layers  # a readout has no silent neurons
    assert page.count("<table>") >= 5 and "<svg" in page and not re.search(r'(src|href)="http', page)
    assert made.write_json(tmp_path / "r.json").read_text() == made.to_json() + "\n"


def test_report_says_what_does_not_fit_and_what_is_unknown():
    model = net(bias=False)
    ran = em.run(em.quantize(model, "odin-like"), images(model))
    with pytest.raises(em.DoesNotFit) as caught:
        em.place(ran.program)
    made = em.report(ran, refusal=str(caught.value))
    assert made.summary()["refusal"] == str(caught.value) and made.summary()["fits"] is False
    assert "threshold_groups" in made.text()
    assert made.layers()["updates_inactive"].isna().all()  # an event core has no such updates


def test_overflow_is_told(ran):
    assert json.loads(em.report(ran).to_json())["overflow_notes"] == []
    model = net()
    narrow = em.profile.load("generic8").replace(membrane_bits=7, threshold_bits=6)
    for calibration in (None, images(model)):
        program = em.quantize(model, narrow, calibration=calibration)
        lost = em.run(program, images(model))
        share = (lost.count("membrane_overflows")[:, -1] > 0).mean()
        said = f"layer {program.layers[-1].name}: the membrane overflowed in {100 * share:.4g} % of the samples, "
        assert (said in em.report(lost).text()) == (share > 0) == (calibration is None)


def test_the_emulator_needs_no_package_of_the_extras():
    code = (
        "import sys; sys.modules.update(matplotlib=None, jinja2=None); import torch; from firstspike import emulator, models\n"
        "ran = emulator.run(emulator.quantize(models.mlp('16-8-4', steps=4)), torch.rand(5, 16))\n"
        "print(emulator.report(ran).text(), emulator.check(models.mlp('16-8-4', steps=4)).text())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_energy_is_counters_times_table(ran):
    placement = em.place(ran.program)
    a, figures = account(ran, "loihi-davies2018", placement), energy.load("loihi-davies2018")
    mean = {name: ran.count(name).sum(1).mean() for name in ("delivered", "active")}
    mean["active"] += ran.first_active.mean()
    assert a.parts["synapses"] == pytest.approx(mean["delivered"] * 23.6e-3)
    assert a.parts["updates_active"] == pytest.approx(mean["active"] * 81e-3)
    neurons = sum(layer.neurons for layer in (ran.program.pixels, *ran.program.layers))
    assert a.parts["updates_inactive"] == pytest.approx((neurons * ran.program.total_steps - mean["active"]) * 52e-3)
    neurons_of = [np.prod(ran.program.input_shape), *(layer.neurons for layer in ran.program.layers)]
    sent = sum(
        ran.count("events").mean(0)[link.layer + 1] * link.neurons / neurons_of[link.layer + 1] for link in placement.links
    )
    assert a.parts["routing"] == pytest.approx(sent * figures.spike_pj / 1000)
    assert a.parts["static"] is None
    assert a.cores == pytest.approx(sum(value or 0 for value in a.parts.values()))
    assert any("static" in note for note in a.notes) and any("first_layer" in note for note in a.notes)
    parts = a.frame().set_index("part")["energy_nj_per_image"]
    assert parts["cores"] == a.cores and parts["total"] == a.total


def test_parts_that_a_table_or_a_chip_does_not_have(ran):
    """An all-inclusive table counts operations alone, an event core no inactive updates."""
    a = account(ran, "odin-frenkel2019")
    assert a.cores == a.parts["synapses"] == pytest.approx(ran.count("delivered").sum(1).mean() * 12.7e-3)
    assert set(a.frame()["part"]) == {"synapses", "cores", "first_layer", "total"}
    model = net(bias=False)
    made = account(em.run(em.quantize(model, "odin-like"), images(model)), "loihi-davies2018")
    assert "updates_active" in made.parts and "updates_inactive" not in set(made.frame()["part"])


def table(**figures):
    figures = {"synaptic_operation_pj": 0.0, **figures}
    return energy.EnergyTable(name="t", title="t", source="s", note="n", **figures)


def test_static_power_over_time(ran):
    # 2 mW times 9 steps of (113 + 465) / 2 ns
    made = account(ran, table(static_mw=2.0))
    assert made.parts["static"] == pytest.approx(2.0 * ran.program.total_steps * 289 / 1000)


@pytest.mark.parametrize("name", ["45nm-integer", "loihi-davies2018", "odin-frenkel2019"])
@pytest.mark.parametrize(("how", "macs", "each"), [("float", 2 * 9 * 6 * 8 * 8, 4.6), ("integers", 2 * 22**2 * 6, 1.55)])
def test_the_total_includes_the_first_layer(name, how, macs, each):
    """2 channels, 3 x 3, to 6 maps of 8 x 8; in integers taps in the padding do not count, 22 of 24 per axis are left."""
    model = net()
    run = em.run(em.quantize(model, "loihi-like", first_layer=how), images(model))
    where, count = first_layer(run.program)
    assert count == macs and where.startswith("on the host" if how == "float" else "multiply-adds in integers")
    a = account(run, name)
    assert a.first_layer == pytest.approx(macs * each / 1000) and a.total == a.cores + a.first_layer
    summary = em.report(run, tables=[name]).summary()
    assert summary["energy_nj_per_image"] == {name: a.total} and summary["first_layer"] == where
    assert any("of table 45nm" in note for note in a.notes) == (name != "45nm-integer")  # borrowed


def test_latency_counts_delays_and_silence():
    model = net("30-20-5", encoder="latency", readout="first-spike", bias=False)
    ran = em.run(em.quantize(model, "loihi-like"), torch.cat([images(model), torch.zeros(1, 30)]))
    told = latency(ran)
    silent = ran.decision_step < 0
    assert silent[-1] and not silent.all()
    # two layers, each a step late: the chip needs two steps more than the network, and eight for a silent sample
    ready = np.where(silent, 8, ran.decision_step + 3)
    assert told["latency_steps_mean"] == pytest.approx(ready.mean()) and told["latency_steps_max"] == 8
    assert told["latency_ns_min"] == pytest.approx(ready.mean() * 113)
    assert told["latency_ns_max"] == pytest.approx(ready.mean() * 465)


@pytest.mark.parametrize(("population", "gamma"), [(2, 1.2), (1, 1.0), (1, 1.2)])
def test_latency_of_temporal_weighting_is_the_first_spike_where_it_decides_else_the_end(population, gamma):
    model = net("30-20-5", encoder="latency", readout="twd-exp", population=population, gamma=gamma, bias=False)
    ran = em.run(em.quantize(model, "loihi-like"), images(model))
    assert ran.program.total_steps == 8
    if (population, gamma) != (1, 1.2):
        assert latency(ran)["latency_steps_mean"] == 8
        return
    exited = em.run(ran.program, images(model), early_exit=True)
    assert latency(ran)["latency_steps_mean"] == latency(exited)["latency_steps_mean"] == exited.steps_run.mean() < 8


def linear(name, inputs, outputs):
    """A layer in which every neuron fires with its first event."""
    return dense(np.ones((inputs, outputs)), np.ones(outputs), name=name, stop=2)


@pytest.fixture(scope="module")
def by_hand():
    """3 inputs, two of which fire; 20 neurons on cores 0 to 4, four each; then 4 neurons on core 5, and 1 on core 6."""
    chip = em.profile.load("generic8").replace(cores=(em.profile.CoreKind(count=32, neurons=4),))
    layers = chained([linear("a", 3, 20), linear("b", 20, 4), linear("c", 4, 1)])
    program = Program(layers=layers, steps=2, profile=chip, encoder=Encoder(kind="spikes"), readout=Readout(kind="first-spike"))
    return em.run(program, SpikeTimes(torch.tensor([[0, 0, 255]], dtype=torch.uint8), 2))


def test_messages_and_hops(by_hand):
    """Tiles of four cores, in columns of one tile: a has cores 0 to 3 on tile 0 and core 4 on tile 1, b and c tile 1.

    Messages: 2 events to 5 cores, 20 spikes to 1, 4 spikes to 1: 34. Hops with one row, all east-west: 2 events go to
    core 4 on tile 1, 16 spikes of tile 0 go to tile 1: 18. With four rows they are all north-south.
    """
    placement = em.place(by_hand.program)
    assert [slot.core for slot in placement.slots] == [0, 1, 2, 3, 4, 5, 6]
    moved = traffic(by_hand, placement, 1, 4)
    assert (moved.messages, moved.east_west, moved.north_south) == (34, 18, 0)
    moved = traffic(by_hand, placement, 4, 4)
    assert (moved.messages, moved.east_west, moved.north_south) == (34, 0, 18)
    moved = traffic(by_hand, placement, 1, 1)  # every core a tile: 0+1+2+3+4, twice; 4 times 5+4+3+2+1; 4 times 1
    assert (moved.messages, moved.east_west, moved.north_south) == (34, 20 + 60 + 4, 0)
    assert sum(layer.events + layer.shortcut_events for layer in em.counts(by_hand)) == 2 + 20 + 4


def test_the_second_table_of_loihi(by_hand):
    """Per image: 2 20 + 20 4 + 4 operations, 25 neurons active in step 0 and not in step 1, 25 that fire."""
    a = account(by_hand, "loihi-sanafe", em.place(by_hand.program))
    assert a.parts["synapses"] == pytest.approx(124 * 35.5e-3)
    assert a.parts["updates_active"] == pytest.approx(25 * (51.2 + 21.6) * 1e-3)
    assert a.parts["updates_inactive"] == pytest.approx(25 * 51.2e-3)
    assert a.parts["firing"] == pytest.approx(25 * 69.3e-3)
    assert a.parts["messages"] == pytest.approx(34 * 111e-3) and a.parts["hops"] == pytest.approx(18 * 4.2e-3)
    assert a.total == pytest.approx(124 * 35.5e-3 + 25 * (124.0 + 69.3) * 1e-3 + 34 * 111e-3 + 18 * 4.2e-3)
    assert "routing" not in a.parts
    assert not {"firing", "messages", "hops"} & set(account(by_hand, "loihi-davies2018").frame()["part"])
    assert any("without a placement" in note for note in account(by_hand, "loihi-sanafe").notes)


def test_a_shortcut_is_a_message_to_the_cores_of_its_layer_too(by_hand):
    """The 20 spikes of a go to the core of b, and by the shortcut each to the one core of its neuron in c."""
    *before, last = by_hand.program.layers
    wide = changed(
        last,
        Synapses(source=0, kind="diagonal", in_shape=(1, 1, 20), weight=np.full(20, 9)),
        weight=np.ones((4, 20), np.int8),
        out_shape=(1, 1, 20),
        theta=np.full(20, 9),
        bias=np.zeros(20, np.int64),
        scale=np.ones(20),
    )
    program = by_hand.program.replace(layers=[*before, wide])
    run = em.run(program, SpikeTimes(torch.tensor([[0, 0, 255]], dtype=torch.uint8), 2))
    assert run.count("spikes")[0].tolist() == [20, 4, 20]  # 4 events of b are not enough for a threshold of 9
    placement = em.place(program)
    assert traffic(run, placement, 1, 4).messages == 2 * 5 + 20 * 2 + 4 * 5
    assert sum(layer.events + layer.shortcut_events for layer in em.counts(run)) == 2 + 20 * 2 + 4
    assert run.count("events")[0].tolist() == [2, 20, 4] and run.count("delivered")[0].tolist() == [40, 80, 80 + 20]
