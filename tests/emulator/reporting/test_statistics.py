"""Accounts and reports: energy is counters times table, and what is unknown is said."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from firstspike import emulator as em
from firstspike import energy
from firstspike.emulator.reporting.energy_account import account, host_macs, inactive_updates, latency

from ..nets import images, net


@pytest.fixture(scope="module")
def ran():
    model = net()
    labels = torch.arange(40) % 5
    return em.run(em.quantize(model, "loihi-like"), images(model), labels=labels)


def test_energy_is_counters_times_table(ran):
    placement = em.place(ran.program)
    a, table = account(ran, "loihi-davies2018", placement), energy.load("loihi-davies2018")
    mean = {name: ran.count(name).sum(1).mean() for name in ("delivered", "active")}
    assert a.synapses == pytest.approx(mean["delivered"] * 23.6e-3)
    assert a.updates_active == pytest.approx(mean["active"] * 81e-3)
    neurons = sum(layer.neurons for layer in ran.program.layers)
    assert a.updates_inactive == pytest.approx((neurons * ran.program.total_steps - mean["active"]) * 52e-3)
    to = [len({s.core for s in placement.slots if s.layer == n}) for n in range(len(ran.program.layers))]
    assert a.routing == pytest.approx((ran.count("events").mean(0) * to).sum() * table.spike_pj / 1000)
    assert a.static is None and a.host is None
    assert a.total == pytest.approx(a.synapses + a.updates_active + a.updates_inactive + a.routing)
    assert any("static" in note for note in a.notes) and any("host" in note for note in a.notes)
    parts = a.frame().set_index("part")["nJ an image"]
    assert parts["total of the cores"] == pytest.approx(a.total)


def test_an_all_inclusive_table_counts_operations_only(ran):
    a = account(ran, "odin-frenkel2019")
    assert a.total == a.synapses == pytest.approx(ran.count("delivered").sum(1).mean() * 12.7e-3)
    assert a.updates_active is a.updates_inactive is a.routing is None


def test_event_cores_pay_no_inactive_updates():
    model = net(bias=False)
    ran = em.run(em.quantize(model, "odin-like"), images(model))
    assert account(ran, "loihi-davies2018").updates_inactive is None


def test_static_power_over_time(ran, tmp_path):
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\ntitle = "t"\nsource = "s"\nnote = "n"\nsynaptic_operation_pj = 0.0\nstatic_mw = 2.0\n')
    # 2 mW times 9 steps of (113 + 465) / 2 ns
    assert account(ran, path).static == pytest.approx(2.0 * ran.program.total_steps * 289 / 1000)


def test_host_multiply_adds_are_shown_apart(ran):
    assert host_macs(ran) == 2 * 9 * 6 * 8 * 8  # 2 channels, 3 x 3, to 6 maps of 8 x 8
    a = account(ran, "45nm-integer")
    assert a.host == pytest.approx(host_macs(ran) * 4.6e-3) and a.total < a.total + a.host
    assert inactive_updates(ran).min() >= 0


def test_latency_counts_delays_and_silence():
    model = net("30-20-5", encoder="latency", readout="first-spike")
    ran = em.run(em.quantize(model, "loihi-like"), torch.cat([images(model), torch.zeros(1, 30)]))
    told = latency(ran)
    decided = np.where(ran.decision_step < 0, ran.program.total_steps, ran.decision_step + 1)
    assert told["mean steps to decision"] == pytest.approx(decided.mean())
    assert told["nanoseconds to decision"] == f"{decided.mean() * 113:.0f} to {decided.mean() * 465:.0f}"


def test_report_in_all_forms(ran, tmp_path):
    expected = ran.predictions.copy()
    expected[3] = (expected[3] + 1) % 5
    made = em.report(
        ran, placement=em.place(ran.program), tables=["loihi-davies2018", "45nm-float"], float_predictions=expected
    )
    summary = made.summary()
    assert summary["accuracy"] == ran.accuracy and summary["answers unlike the float network's"] == 1
    assert made.disagreements()["sample"].tolist() == [3]
    whole = json.loads(made.to_json())
    assert whole["summary"]["nJ an image, 45nm-float"] == pytest.approx(account(ran, "45nm-float").total)
    assert [row["layer"] for row in whole["layers"]] == [layer.name for layer in ran.program.layers]
    assert whole["profile"]["sources"]["weight_bits"]
    text = made.text()
    assert "accuracy" in text and "synapses" in text and "neuron updates, inactive" in text
    page = made.write_html(tmp_path / "r.html").read_text()
    assert page.count("<table>") >= 5 and "<svg" in page and "Davies" in page
    assert not re.search(r'(src|href)="http', page)
    assert made.write_json(tmp_path / "r.json").read_text() == made.to_json() + "\n"


def test_report_says_what_does_not_fit_and_what_is_unknown():
    model = net(bias=False)
    ran = em.run(em.quantize(model, "odin-like"), images(model))
    with pytest.raises(em.DoesNotFit) as caught:
        em.place(ran.program)
    made = em.report(ran, refusal=str(caught.value))
    assert made.summary()["placement"] == str(caught.value)
    assert "threshold_groups" in made.text()


def test_predictions_must_match(ran):
    with pytest.raises(ValueError, match="must have 40 elements, got 2"):
        em.report(ran, float_predictions=np.zeros(2))
