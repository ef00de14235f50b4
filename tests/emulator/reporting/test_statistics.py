"""Accounts and reports: energy is counters times table, and what is unknown is said."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from firstspike import emulator as em
from firstspike import energy
from firstspike.emulator.reporting.energy_account import account, host_macs, inactive_updates, latency
from firstspike.emulator.reporting.traffic import traffic

from ..nets import images, net, wide


@pytest.fixture(scope="module")
def ran():
    model = net()
    labels = torch.arange(40) % 5
    return em.run(em.quantize(model, "loihi-like"), images(model), labels=labels)


def test_they_print_in_one_line(ran):
    assert re.fullmatch(r"Run\(40 samples through Program\(.*\), accuracy \d+\.\d\d %, \d+ spikes\)", repr(ran))
    assert repr(em.report(ran)) == f"Report({ran!r}; text() has its tables)"
    assert re.fullmatch(r"Layer\('1:TTFS.*', .* to .*, int\d+ weights, clocked\)", repr(ran.program.layers[0]))


def test_a_placement_of_another_program_is_refused(ran):
    profile = ran.program.profile
    layers = [replace(ran.program.layers[0], stride=(2, 2), padding=(1, 1)), *ran.program.layers[1:]]
    for other, text in (
        (em.quantize(net(), "loihi-like", bits=4), "its layer 1:TTFSConv2d has other weights"),
        (em.quantize(net("4C3-7C3-5"), "loihi-like"), "it has 2 layers, not 3"),
        (em.quantize(net()), "its profile is generic8, not loihi-like"),
        (
            replace(ran.program, profile=profile.replace(bias_bits=9)),
            "its profile loihi-like has another value of bias_bits",
        ),
        (
            em.quantize(net("6C3-AP2-9C3-AP2-12-5"), "loihi-like"),
            r"its layer 1:TTFSConv2d has out_shape \(4, 4, 9\), not \(4, 4, 8\)",
        ),
        (replace(ran.program, layers=layers), r"its layer 1:TTFSConv2d has stride \(2, 2\), not \(1, 1\)"),
    ):
        wanted = f"placement must be of the program that was run, got that of another one: {text}"
        with pytest.raises(ValueError, match=wanted):
            em.report(ran, placement=em.Placement(other, [], [], 1))
    same = em.quantize(net(), "loihi-like")
    assert em.report(ran, placement=em.place(same)).placement.program is same


def test_an_energy_table_that_is_gone_is_named_with_the_profile(ran):
    profile = replace(ran.program.profile, energy="gone.toml")
    other = replace(ran, program=replace(ran.program, profile=profile))
    with pytest.raises(ValueError, match=r"profile loihi-like: energy: energy table: there is no file .*'gone\.toml'"):
        em.report(other)
    assert em.report(other, tables=["45nm-float"]).accounts


def test_energy_tables_of_one_name_are_refused(ran):
    mine = replace(energy.load("45nm-integer"), synaptic_operation_pj=9.0)
    with pytest.raises(ValueError, match="tables must have different names, got 2 of the name '45nm-integer'"):
        em.report(ran, tables=["45nm-integer", "45nm-float", mine])


def test_a_run_without_samples_has_no_report(ran):
    model = net()
    empty = em.run(ran.program, images(model)[:0], labels=torch.zeros(0, dtype=torch.int64))
    assert empty.accuracy is None and "accuracy" not in repr(empty)
    with pytest.raises(ValueError, match="run must have at least one sample"):
        em.report(empty)


def test_energy_is_counters_times_table(ran):
    placement = em.place(ran.program)
    a, table = account(ran, "loihi-davies2018", placement), energy.load("loihi-davies2018")
    mean = {name: ran.count(name).sum(1).mean() for name in ("delivered", "active")}
    assert a.synapses == pytest.approx(mean["delivered"] * 23.6e-3)
    assert a.updates_active == pytest.approx(mean["active"] * 81e-3)
    neurons = sum(layer.neurons for layer in ran.program.layers)
    assert a.updates_inactive == pytest.approx((neurons * ran.program.total_steps - mean["active"]) * 52e-3)
    neurons_of = [np.prod(ran.program.input_shape), *(layer.neurons for layer in ran.program.layers)]
    sent = sum(
        ran.count("events").mean(0)[link.layer + 1] * link.neurons / neurons_of[link.layer + 1]
        for link in placement.links
    )
    assert a.routing == pytest.approx(sent * table.spike_pj / 1000)
    assert a.static is None
    assert a.cores == pytest.approx(a.synapses + a.updates_active + a.updates_inactive + a.routing)
    assert any("static" in note for note in a.notes) and any("host" in note for note in a.notes)
    parts = a.frame().set_index("part")["energy_nj_per_image"]
    assert parts["cores"] == a.cores and parts["total"] == a.total


def test_an_all_inclusive_table_counts_operations_only(ran):
    a = account(ran, "odin-frenkel2019")
    assert a.cores == a.synapses == pytest.approx(ran.count("delivered").sum(1).mean() * 12.7e-3)
    assert a.updates_active is a.updates_inactive is a.routing is None


def test_text_says_why_a_part_is_unknown(ran):
    text = em.report(ran, placement=em.place(ran.program)).text()
    assert "loihi-davies2018: static: power or time of a step is unknown, not counted" in text
    assert "inactive updates" in text


def test_event_cores_pay_no_inactive_updates():
    model = net(bias=False)
    ran = em.run(em.quantize(model, "odin-like"), images(model))
    made = account(ran, "loihi-davies2018")
    assert made.updates_inactive is None and "updates_inactive" not in set(made.frame()["part"])
    assert set(account(ran, "odin-frenkel2019").frame()["part"]) == {"synapses", "cores", "host", "total"}


def test_parts_of_a_table_are_charged_each_for_itself(ran):
    """A neuron that fires costs something whether or not the table has a figure for messages."""
    placement = em.place(ran.program)
    plain = energy.EnergyTable("t", "t", "s", "n", synaptic_operation_pj=0.0, spike_pj=2.0)
    fires = replace(plain, fired_pj=3.0)
    spikes = ran.count("spikes").sum(1).mean()
    assert account(ran, fires, placement).firing == pytest.approx(3.0 * spikes / 1000)
    assert account(ran, fires, placement).routing == account(ran, plain, placement).routing > 0
    assert account(ran, plain, placement).firing is None
    hops = replace(plain, hop_east_west_pj=1.0, hop_north_south_pj=1.0, mesh_rows=1, cores_per_tile=1)
    moved = traffic(ran, placement, 1, 1)
    assert account(ran, hops, placement).hops == pytest.approx(moved.east_west / 1000)
    sent = replace(plain, message_pj=5.0)
    assert account(ran, sent, placement).messages == pytest.approx(5.0 * moved.messages / 1000)
    assert account(ran, sent, placement).routing is None


def test_static_power_over_time(ran, tmp_path):
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\ntitle = "t"\nsource = "s"\nnote = "n"\nsynaptic_operation_pj = 0.0\nstatic_mw = 2.0\n')
    # 2 mW times 9 steps of (113 + 465) / 2 ns
    made = account(ran, path)
    assert made.static == pytest.approx(2.0 * ran.program.total_steps * 289 / 1000)
    said = "static: each step is counted as 289 ns, the mean of the profile's shortest and longest step, 113 and 465 ns"
    assert said in made.notes and not any("each step" in note for note in account(ran, "45nm-integer").notes)


@pytest.mark.parametrize("table", ["45nm-integer", "loihi-davies2018", "odin-frenkel2019"])
def test_the_total_includes_the_host_layer(ran, table):
    assert host_macs(ran) == 2 * 9 * 6 * 8 * 8  # 2 channels, 3 x 3, to 6 maps of 8 x 8
    a = account(ran, table)
    assert a.host == pytest.approx(6912 * 4.6e-3)
    assert a.total == a.cores + a.host and em.report(ran, tables=[table]).summary()["energy_nj_per_image"] == {
        table: a.total
    }
    borrowed = any("6912 multiply-adds per image at 4.6 pJ of table 45nm-float" in note for note in a.notes)
    assert borrowed == (table != "45nm-integer")
    assert inactive_updates(ran).min() >= 0


def test_latency_counts_delays_and_silence():
    model = net("30-20-5", encoder="latency", readout="first-spike", bias=False)
    ran = em.run(em.quantize(model, "loihi-like"), torch.cat([images(model), torch.zeros(1, 30)]))
    told = latency(ran)
    silent = ran.decision_step < 0
    assert silent[-1] and not silent.all()
    # two layers, each a step late: the chip needs two steps more than the network, and eight for a silent sample
    assert told["steps_to_decision_mean"] == pytest.approx(np.where(silent, 6, ran.decision_step + 1).mean())
    ready = np.where(silent, 8, ran.decision_step + 3)
    assert told["latency_steps_mean"] == pytest.approx(ready.mean()) and told["latency_steps_max"] == 8
    assert told["latency_ns_min"] == pytest.approx(ready.mean() * 113)
    assert told["latency_ns_max"] == pytest.approx(ready.mean() * 465)


@pytest.mark.parametrize(("population", "gamma"), [(2, 1.2), (1, 1.0)])
def test_latency_of_temporal_weighting_is_the_end_where_later_spikes_count(population, gamma):
    model = net("30-20-5", encoder="latency", readout="twd-exp", population=population, gamma=gamma, bias=False)
    ran = em.run(em.quantize(model, "loihi-like"), images(model))
    assert latency(ran)["latency_steps_mean"] == ran.program.total_steps == 8
    assert latency(ran)["steps_to_decision_mean"] < 6


def test_latency_of_temporal_weighting_is_the_first_spike_where_it_decides():
    model = net("30-20-5", encoder="latency", readout="twd-exp", population=1, bias=False)
    ran = em.run(em.quantize(model, "loihi-like"), images(model))
    exited = em.run(ran.program, images(model), early_exit=True)
    assert latency(ran)["latency_steps_mean"] == latency(exited)["latency_steps_mean"] == exited.steps_run.mean() < 8


@pytest.mark.parametrize("readout", ["first-spike", "membrane"])
def test_steps_to_decision_are_those_of_training(readout):
    """On a profile without rounding, the emulator's steps are those that `firstspike eval` measures."""
    model = net("30-20-5", encoder="latency", readout=readout)
    ran = em.run(em.quantize(model, wide(), observer="max"), images(model))
    with torch.inference_mode():
        seen = model.observe(images(model))
    decided = (seen.decision_step + 1).clamp(max=model.steps).numpy()
    emulated = np.where(ran.decision_step < 0, model.steps, ran.decision_step + 1)
    assert (emulated == decided).sum() >= len(decided) - 1 and len(set(decided.tolist())) > 1
    assert latency(ran)["steps_to_decision_mean"] == pytest.approx(decided.mean(), abs=0.15)


def test_report_in_all_forms(ran, tmp_path):
    expected = ran.predictions.copy()
    expected[3] = (expected[3] + 1) % 5
    made = em.report(
        ran, placement=em.place(ran.program), tables=["loihi-davies2018", "45nm-float"], float_predictions=expected
    )
    summary = made.summary()
    assert summary["accuracy"] == ran.accuracy and summary["mismatches"] == 1
    assert made.mismatches()["sample"].tolist() == [3]
    part = em.report(ran, float_predictions=expected, samples=np.arange(100, 140))
    assert part.mismatches()["sample"].tolist() == [103] and '"sample":103' in part.to_json().replace(" ", "")
    whole = json.loads(made.to_json())
    assert whole["summary"]["energy_nj_per_image"]["45nm-float"] == pytest.approx(account(ran, "45nm-float").total)
    assert [row["layer"] for row in whole["layers"]] == [layer.name for layer in ran.program.layers]
    assert whole["profile"]["sources"]["weight_bits"]
    text = made.text()
    assert (
        "NaN" not in text
        and "accuracy" in text
        and "synapses" in text
        and "inactive updates" in text
        and "energy per image, nJ, 45nm-float" in text
    )
    page = made.write_html(tmp_path / "r.html").read_text()
    assert "why it does not fit" not in page  # it fits
    layers = page.partition("Means per image")[2].partition("</table>")[0]
    assert "unknown" not in layers and "–" in layers  # a readout has no silent neurons
    assert '<td class="n">unknown</td>' in page  # static energy, in a column of numbers
    assert page.count("<table>") >= 5 and "<svg" in page and "Davies" in page
    assert not re.search(r'(src|href)="http', page)
    assert made.write_json(tmp_path / "r.json").read_text() == made.to_json() + "\n"


def test_report_says_what_does_not_fit_and_what_is_unknown():
    model = net(bias=False)
    ran = em.run(em.quantize(model, "odin-like"), images(model))
    with pytest.raises(em.DoesNotFit) as caught:
        em.place(ran.program)
    made = em.report(ran, refusal=str(caught.value))
    assert made.summary()["refusal"] == str(caught.value) and made.summary()["fits"] is False
    assert "threshold_groups" in made.text()


def test_a_program_is_placed_or_refused(ran):
    with pytest.raises(ValueError, match=r"refusal must be left out where the program was placed .*, got 'no room'"):
        em.report(ran, placement=em.place(ran.program), refusal="no room")
    with pytest.raises(TypeError, match="refusal must be a text, got int"):
        em.report(ran, refusal=5)


def test_membrane_accesses_of_event_cores_are_told_to_be_a_lower_bound():
    model = net(bias=False)
    notes = {
        chip: em.report(em.run(em.quantize(model, chip), images(model)), tables=["45nm-integer"]).accounts[0].notes
        for chip in ("generic8", "odin-like")
    }
    ran = em.run(em.quantize(model, "odin-like"), images(model))
    assert em.report(ran).layers()["updates_inactive"].isna().all()  # it has no such updates
    assert "every event" in " ".join(notes["odin-like"]) and "every event" not in " ".join(notes["generic8"])


def test_predictions_must_match(ran):
    with pytest.raises(ValueError, match=r"one element per sample, \[40\], got \[2\]"):
        em.report(ran, float_predictions=np.zeros(2))
    with pytest.raises(ValueError, match=r"samples must have one element per sample, \[40\], got \[3\]"):
        em.report(ran, samples=np.arange(3))


def test_overflow_is_told_with_what_to_do(tmp_path, ran):
    assert "overflowed" not in em.report(ran).text() and json.loads(em.report(ran).to_json())["overflow_notes"] == []
    model = net()
    narrow = em.profile.load("generic8").replace(membrane_bits=7, threshold_bits=6)
    program = em.quantize(model, narrow)
    lost = em.run(program, images(model))
    share = (lost.count("membrane_overflows")[:, -1] > 0).mean()
    assert share > 0
    made = em.report(lost)
    told, page = made.text(), made.write_html(tmp_path / "r.html").read_text()
    said = f"layer {program.layers[-1].name}: the membrane overflowed in {100 * share:.4g} % of the samples, "
    remedy = "Calibrate the readout with more images (quantize(calibration=)). Fewer weight bits (bits=, --bits)"
    for shown in (told, page.replace("&#x27;", "'")):
        assert said in shown and remedy in shown and "more membrane_bits." in shown
    assert json.loads(made.to_json())["overflow_notes"][-1].startswith("Overflow can cost much accuracy")
    calibrated = em.report(em.run(em.quantize(model, narrow, calibration=images(model)), images(model))).text()
    assert said not in calibrated and "calibration=" not in calibrated
