"""Reports in all forms, and their refusals of what does not belong to the run."""

from __future__ import annotations

import json
import re
import subprocess
import sys

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


def test_a_placement_of_another_program_is_refused(ran):
    first, *others = ran.program.layers
    for other in (
        em.quantize(net(), "loihi-like", bits=4),
        ran.program.replace(profile=ran.program.profile.replace(bias_bits=9)),
        ran.program.replace(layers=[first.replace(stride=(2, 2), padding=(2, 2)), *others]),
    ):
        with pytest.raises(ValueError, match="placement must be of the program that was run"):
            em.report(ran, placement=em.Placement(other, [], [], 1))


def test_report_in_all_forms(ran, tmp_path):
    expected = ran.predictions.copy()
    expected[3] = (expected[3] + 1) % 5
    made = em.report(
        ran, placement=em.place(ran.program), tables=["loihi-davies2018", "45nm-float"], float_predictions=expected
    )
    summary = made.summary()
    assert summary["accuracy"] == ran.accuracy and summary["mismatches"] == 1
    part = em.report(ran, float_predictions=expected, samples=np.arange(100, 140))
    assert made.mismatches()["sample"].tolist() == [3] and part.mismatches()["sample"].tolist() == [103]
    whole = json.loads(made.to_json())
    assert whole["summary"]["energy_nj_per_image"]["45nm-float"] == made.accounts[1].total
    assert [row["layer"] for row in whole["layers"]] == [layer.name for layer in ran.program.layers]
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
