"""The example of a chip profile is complete, and a net runs on it with the energy table beside it."""

import tomllib
from pathlib import Path

import torch

from firstspike import emulator, models

FOLDER = Path(__file__).parents[2] / "examples" / "chip"


def test_it_has_every_key():
    written = tomllib.loads((FOLDER / "my-chip.toml").read_text())
    assert set(written) == set(emulator.Profile.model_fields) - {"sources", "fpga"}
    kinds = set(emulator.profile.CoreKind.model_fields)
    assert set(written["cores"][0]) == kinds - {"kernel_entries", "neuron_entries"}


def test_a_net_runs_on_it():
    chip = emulator.profile.load(FOLDER / "my-chip.toml")
    net = models.load_pretrained("digits-cnn")
    images = torch.rand(20, 1, 8, 8)
    program = emulator.quantize(net, chip, calibration=images)
    made = emulator.report(emulator.run(program, images), placement=emulator.place(program))
    assert made.summary()["fits"] and made.accounts[0].table.name == "my-energy"
    (one,) = made.accounts
    assert None not in (one.parts[name] for name in ("updates_active", "updates_inactive", "routing", "static"))
