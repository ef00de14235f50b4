import itertools
from dataclasses import replace

import pytest
from paper.records import Store
from paper.runs import Run

from paper import grid

from .samples import PROFILE, profile, record


@pytest.mark.parametrize("name", grid.PROFILES)
def test_profiles_load_and_have_the_same_experiments(name):
    loaded = grid.load(name)
    assert set(loaded.experiments) == set(grid.load("paper").experiments)
    assert {path.stem for path in (grid.HERE / "experiments").glob("*.toml")} == set(loaded.experiments)
    assert any(run.data == "digits" for run in grid.runs(loaded.of("table1")))


@pytest.mark.parametrize(
    ("name", "setup"), [(name, setup) for name in grid.PROFILES for setup in grid.load(name).asked["table4"]["setups"]]
)
def test_the_ablation_differs_by_one_component_in_each_row(name, setup):
    """Apart from the learning rate, which each row may have for itself."""
    conditions = [
        replace(condition, runs=tuple(run.changed(lr=1.0) for run in condition.runs))
        for condition in grid.load(name).of("table4")
        if condition.setup == setup
    ]
    cumulative = [condition.runs[0].to_dict() for condition in conditions if condition.group == "added one after the other"]
    for before, after in itertools.pairwise(cumulative):
        assert sum(before[name] != after[name] for name in before) == 1
    whole = cumulative[-1]
    for condition in conditions:
        if condition.group == "one left out":
            assert sum(whole[name] != value for name, value in condition.runs[0].to_dict().items()) == 1


def test_a_profile_and_a_setup_can_give_single_rows_other_settings(tmp_path):
    """The setup's entry wins over the profile's."""
    text = PROFILE.replace("[pooling]", '[table4.rows]\n"none of the five" = { lr = 0.5 }\n\n[pooling]')
    setup = text.replace("[setup.cnn]", '[setup.cnn]\nrows = { "none of the five" = { lr = 0.25 } }', 1)
    for asked, rate in ((text, 0.5), (setup, 0.25)):
        found = profile(tmp_path, asked).of("table4")
        rates = {condition.label: {run.lr for run in condition.runs} for condition in found}
        assert rates.pop("none of the five") == {rate} and set.union(*rates.values()) == {1e-3}


TRIALS = """
[table4.learning_rates.cnn]
values = [0.001, 0.004, 0.016]
set = { seed = 7, validation = 50 }
"""


def trial(rate, accuracy):
    made = record()
    made["results"]["validation"] = accuracy
    return made


def test_each_row_gets_the_rate_that_is_best_on_images_held_out(tmp_path):
    made = profile(tmp_path, PROFILE.replace("[pooling]", f"{TRIALS}\n[pooling]"))
    store = Store(tmp_path / "results")
    first, second, *_ = made.of("table4")
    assert [run.lr for run in first.trials] == [0.001, 0.004, 0.016] and {run.seed for run in first.trials} == {7}
    assert all(run.validation == 50 for run in first.trials) and [run.seed for run in first.runs] == [0, 1]
    assert grid.waits(first, store)
    for run, accuracy in zip(first.trials, (80.0, 90.0, 90.0), strict=True):
        store.add(run, trial(run.lr, accuracy))
    store.add(second.trials[0], trial(0.001, 99.0))
    one, two, *_ = grid.choose_learning_rates(made, store).of("table4")
    assert {run.lr for run in one.runs} == {0.004} and not grid.waits(one, store)  # of equal ones the smaller
    assert two == second and grid.waits(two, store)
    assert len(grid.runs([one])) == 5


def test_keys_name_runs():
    run = Run.of({"data": "digits", "spec": "64-10"})
    assert run.key == Run.of({"data": "digits", "spec": "64-10", "steps": 8}).key
    assert run.key != Run.of({"data": "digits", "spec": "64-10", "steps": 9}).key
    assert run.name == f"digits-mlp-ttfs-s0-{run.key}"
    assert Run.of(run.to_dict()) == run


def test_a_relu_net_has_no_spiking_fields():
    one = Run.of({"data": "digits", "spec": "64-10", "model": "relu", "steps": 4, "init": "kaiming"})
    assert one == Run.of({"data": "digits", "spec": "64-10", "model": "relu"})


def test_a_net_of_windows_has_none_of_the_settings_of_neurons_in_steps():
    one = Run.of({"data": "digits", "spec": "64-10", "timing": "windowed", "steps": 255, "surrogate_scale": 1.5})
    assert one == Run.of({"data": "digits", "spec": "64-10", "timing": "windowed", "steps": 255})


def test_rows_for_nets_with_pools_alone(tmp_path):
    made = profile(tmp_path, PROFILE.replace('[cost]\nsetups = ["small"]', '[cost]\nsetups = ["small", "cnn"]'))
    rows = {setup: {each.label for each in made.of("cost") if each.setup == setup} for setup in ("small", "cnn")}
    (more,) = {each.runs[0].pooling for each in made.of("cost") if each.label in rows["cnn"] - rows["small"]}
    assert rows["small"] < rows["cnn"] and more == "single"


def test_the_rows_that_a_profile_asks_for(tmp_path):
    asked = '[cost.only]\nsmall = ["windows, penalty 1", "windows"]\n\n[pooling]'
    made = profile(tmp_path, PROFILE.replace("[pooling]", asked))
    assert [each.label for each in made.of("cost")] == ["windows", "windows, penalty 1"]


def test_each_row_for_each_value_of_a_sweep(tmp_path):
    found = profile(tmp_path).of("time")
    assert [condition.label for condition in found[:3]] == ["windows, T = 2", "windows, T = 8", "ReLU, batch normalisation"]
    assert [condition.value for condition in found[:3]] == [2, 8, None]
    assert {condition.runs[0].timing for condition in found if condition.group.startswith("windows")} == {"windowed"}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (("epochs = 2", "epoch = 2"), "epoch"),
        (("epochs = 2", "epochs = 0"), "epochs"),
        (('setups = ["small", "cnn"]', 'setups = ["smal"]'), "smal"),
        (("target_accuracy = 60", "target = 60"), "target"),
        (('title = "digits, small"\n', ""), "title"),
        (("values = [1.1, 1.5]\n", ""), "gamma"),
        (("[setup.cnn]", '[setup.cnn]\nlike = "nobody"'), "setup.cnn"),
        (("[setup.cnn]", "[setup.cnn]\nrows = { nobody = { lr = 0.1 } }"), "nobody"),
        (("[pooling]", "[table4.rows]\nnobody = { lr = 0.5 }\n\n[pooling]"), "nobody"),
        (("[pooling]", '[cost.only]\nsmall = ["nobody"]\n\n[pooling]'), "nobody"),
        (("[pooling]", '[cost.only]\nnowhere = ["windows"]\n\n[pooling]'), "nowhere"),
        (("[pooling]", TRIALS.replace(", validation = 50", "") + "\n[pooling]"), "validation"),
        (("[pooling]", TRIALS.replace(".cnn", ".nowhere") + "\n[pooling]"), "nowhere"),
    ],
)
def test_bad_profiles_name_the_file_and_the_fault(tmp_path, change, name):
    with pytest.raises(ValueError, match=name) as error:
        profile(tmp_path, PROFILE.replace(*change, 1))
    assert "tiny.toml" in str(error.value)
