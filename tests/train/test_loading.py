"""Reading runs: finished, going on, with custom code; the data and the facts of a run."""

import threading
from functools import partial

import pytest
from torch import nn

import firstspike
from firstspike import data, models
from firstspike.train import Config, evaluate, fit, load_data, load_info, load_model

from .conftest import run, same_bits


def test_a_net_is_read_from_folder_and_file_finished_or_not(config, sets, tmp_path):
    result = run(config.replace(average_epochs=1), sets, directory=tmp_path)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        net = load_model(path)
        assert same_bits(net, result.model) and not net.training and evaluate(net, sets[1]) == result.test
        assert load_info(path) == result.run
    assert same_bits(firstspike.load(tmp_path), result.model)
    (tmp_path / "model.safetensors").unlink()
    going = load_model(tmp_path)
    assert same_bits(going, result.model) and load_info(tmp_path).epoch == 3


def test_a_layer_with_custom_code_must_be_given_again(config, sets, tmp_path):
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(36, 4)

        def forward(self, x):
            return 2 * self.layer(x.flatten(1))

    result = run(config, sets, model=Doubled(), directory=tmp_path)
    for name in ("model.safetensors", "result.json"):
        with pytest.raises(ValueError, match=r"custom code|without a description"):
            load_model(tmp_path)
        assert same_bits(load_model(tmp_path, model=Doubled()), result.model)
        with pytest.raises(ValueError, match="do not fit the net"):
            load_model(tmp_path, model=nn.Linear(2, 2))
        (tmp_path / name).unlink()


def test_a_reader_sees_one_of_the_epochs_while_the_run_goes_on(config, sets, tmp_path):
    config = config.replace(epochs=25, schedule="constant")
    small = tuple(part.subset(slice(0, 16)) for part in sets)
    run(config.replace(epochs=1), small, directory=tmp_path)
    (tmp_path / "model.safetensors").unlink()  # as in a first run: only the checkpoint is there
    worker = threading.Thread(target=run, args=(config, small), kwargs={"directory": tmp_path})
    worker.start()
    seen = []
    while worker.is_alive():
        seen.append(load_info(tmp_path).epoch)
        load_model(tmp_path)
    worker.join()
    assert seen == sorted(seen) and len(set(seen)) > 3, seen
    assert load_info(tmp_path).epoch == 25


def test_the_data_of_a_run_are_loaded_again(tmp_path):
    fit(Config(data="digits", spec="64-8-10", epochs=1, limit=100), directory=tmp_path, progress=False)
    for train in (True, False):
        found = load_data(tmp_path, train=train)
        assert found.fingerprint() == data.load("digits", train=train).fingerprint()


def test_data_that_changed_are_warned_of(config, sets, tmp_path):
    result = run(config, sets, directory=tmp_path)
    with pytest.raises(ValueError, match="given in Python"):
        load_data(tmp_path, train=False)
    other = data.load("digits", train=False)
    facts = {**result.data, "test": result.data["test"].replace(recipe=other.recipe)}
    info = result.run.replace(data=facts)
    firstspike.save(result.model, tmp_path / "model.safetensors", info.to_dict())
    with pytest.warns(UserWarning, match="the test data are not the run"):
        load_data(tmp_path, train=False)


def test_a_file_that_does_not_say_its_data_is_refused(config, sets, tmp_path):
    result = run(config, sets)
    facts = result.run.to_dict()
    del facts["data"]["train"]
    firstspike.save(result.model, tmp_path / "net.safetensors", facts)
    for read in (load_info, partial(load_data, train=True)):
        with pytest.raises(ValueError, match=r"net\.safetensors: data: must have the parts train and test, got \['test'\]"):
            read(tmp_path / "net.safetensors")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint"):
        load_model(tmp_path)

    firstspike.save(models.mlp("36-8-4", steps=4), tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"net\.safetensors is a net without a run"):
        load_info(tmp_path / "net.safetensors")
