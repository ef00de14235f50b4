"""Energies of records beside the package's own, and what is drawn and printed of them."""

import pytest
from paper.answers import ENERGIES
from paper.figures.cost import cost, layers_cost
from paper.records import Store
from paper.tables.cost import answers

from firstspike import energy

from .samples import counts, fill, profile, record


def of_kind(**spec):
    return {**record(), "spec": {"model": "ttfs", "timing": "windowed", **spec}}


def test_energies_are_those_of_the_package():
    layers, windows = [energy.LayerCounts(**layer) for layer in counts()], of_kind()
    for name, schedule in (("neuron_by_neuron", "neuron-by-neuron"), ("payload", "payload"), ("clocked", "clocked")):
        assert ENERGIES[name](windows) == pytest.approx(energy.accounts(layers, schedule=schedule).total / 1e3)
    comparison = energy.compare(layers).set_index("schedule")
    assert ENERGIES["times_lemaire"](windows) == pytest.approx(comparison["times_relu"]["published"])
    for name, column in (("dense", "relu"), ("skipping", "relu_nonzero")):
        assert ENERGIES[name](windows) == pytest.approx(comparison[column]["payload"] / 1e3)
    assert ENERGIES["equal_bits"](windows) < ENERGIES["skipping"](windows)
    assert ENERGIES["answer_steps"](windows) == 15 + 8 and 0 < ENERGIES["additions_share"](windows) < 1


def test_a_net_with_relu_and_an_old_record_have_no_energy_of_spikes():
    spiking = {"neuron_by_neuron", "payload", "clocked", "lemaire", "times_lemaire", "equal_bits", "answer_steps"}
    relu, old = of_kind(model="relu"), of_kind()
    del old["results"]["counts"]
    assert {name for name, measure in ENERGIES.items() if measure(relu) is None} == spiking
    assert all(measure(old) is None for measure in ENERGIES.values())


def test_the_page_shows_the_rows_that_were_run(tmp_path):
    made, store = profile(tmp_path / "profile"), Store(tmp_path / "results")
    assert cost(made, store) is None and layers_cost(made, store) is None
    chosen = [condition for condition in made.of("cost") if condition.label != "windows, penalty 1"]
    fill(store, chosen)
    shown = answers(made, store, "small")
    assert shown["net"].tolist() == [condition.label for condition in chosen]
    assert shown["difference to ReLU"][0].startswith("+0.00") and shown["steps"][0] == "23"
    assert cost(made, store).svg != layers_cost(made, store).svg
