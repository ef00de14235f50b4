"""Reports in all forms, and their refusals of what does not belong to the run."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from firstspike import emulator as em

from ..nets import images, net


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
    first, *others = ran.program.layers
    for other in (
        em.quantize(net(), "loihi-like", bits=4),
        em.quantize(net("4C3-7C3-5"), "loihi-like"),
        em.quantize(net()),
        ran.program.replace(profile=ran.program.profile.replace(bias_bits=9)),
        em.quantize(net("6C3-AP2-9C3-AP2-12-5"), "loihi-like"),
        ran.program.replace(layers=[first.replace(stride=(2, 2), padding=(2, 2)), *others]),
    ):
        with pytest.raises(ValueError, match="placement must be of the program that was run"):
            em.report(ran, placement=em.Placement(other, [], [], 1))
    same = em.quantize(net(), "loihi-like")
    assert em.report(ran, placement=em.place(same)).placement.program is same


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
    assert whole["summary"]["energy_nj_per_image"]["45nm-float"] == made.accounts[1].total
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


def test_membrane_accesses_of_event_cores_are_told_to_be_a_lower_bound():
    model = net(bias=False)
    notes = {
        chip: em.report(em.run(em.quantize(model, chip), images(model)), tables=["45nm-integer"]).accounts[0].notes
        for chip in ("generic8", "odin-like")
    }
    ran = em.run(em.quantize(model, "odin-like"), images(model))
    assert em.report(ran).layers()["updates_inactive"].isna().all()  # it has no such updates
    assert "every event" in " ".join(notes["odin-like"]) and "every event" not in " ".join(notes["generic8"])


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
