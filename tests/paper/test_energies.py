"""Energies from what a record holds, against those of the net that it would be of."""

import pytest
import torch
from paper.energies import energies
from paper.measures import _chip_energy
from paper.runs import Run

from firstspike import energy, inspect, train
from paper import job

IMAGES = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def measured(config):
    """A record of a net that was not trained, and its counts."""
    torch.manual_seed(0)
    net = train.build_model(config, input_shape=(1, 8, 8)).eval()
    with torch.no_grad():
        rates = [float((~layer.silent).double().mean()) for layer in net.observe(IMAGES).layers]
    counts = inspect.counts(net, IMAGES)
    results = {"operations": job.operations(counts), "test": {"spikes_per_layer": rates}}
    return {"spec": Run(config).to_dict(), "results": results}, counts


@pytest.mark.parametrize("timing", ["windowed", "step"])
@pytest.mark.parametrize(("spec", "apart"), [("64-32-16-10", 1e-6), ("8C3-AP2-12C3-AP2-20-10", 0.1)])
def test_energies_of_a_record_are_those_of_its_net(timing, spec, apart):
    record, counts = measured(train.Config(data="digits", spec=spec, timing=timing, steps=8))
    found = energies(record)
    for schedule in ("clocked", "neuron-by-neuron", "payload") if timing == "windowed" else ("clocked",):
        assert found[schedule] == pytest.approx(energy.accounts(counts, "45nm-integer", schedule).total, rel=1e-6)
    assert found["clocked"] == pytest.approx(_chip_energy(record))
    assert found["lemaire"] == pytest.approx(energy.lemaire.spiking_nj(counts), rel=apart)
    assert found["relu"] == pytest.approx(energy.relu(counts)) and found["relu_bits"] == pytest.approx(
        energy.relu(counts, bits="equal")
    )
    if timing == "windowed":
        other, fewer = measured(train.Config(data="digits", spec=spec, timing=timing, steps=8, input_steps=15))
        added = [
            energy.load("45nm-integer").synaptic_operation_pj * sum(layer.additions for layer in each) / 1e3
            for each in (counts, fewer)
        ]
        assert found["clocked, short"] - added[0] == pytest.approx(energies(other)["clocked"] - added[1], rel=1e-6)
    if timing == "windowed" and "AP" not in spec:
        assert found["relu_nonzero"] == pytest.approx(energy.relu(counts, skip_zeros=True))


def test_what_a_record_does_not_hold_is_none():
    record, counts = measured(train.Config(data="digits", spec="8C3-MP2-12C3-10", timing="windowed", steps=8))
    found = energies(record)
    assert found["lemaire"] is None and 0 < found["clocked"] <= energy.accounts(counts).total
    assert energies(measured(train.Config(data="digits", spec="64-32-10"))[0])["relu_nonzero"] is None
