"""The trained net that comes with a result."""

import pytest
import torch
from torch import nn

from firstspike import SpikeTimes, data, encode, models, save, train
from firstspike import nn as fs
from firstspike.train import fit, load_model

from .conftest import run


class OwnCode(nn.Module):
    """A net with code of its own."""

    def __init__(self):
        super().__init__()
        self.hidden, self.last = fs.DirectLinear(36, 8, steps=4), fs.Integrate(8, 4, steps=4)

    def forward(self, x):
        return self.last(self.hidden(x.flatten(1))).mean(0)


def test_what_is_no_array_is_told_what_to_pass(config, sets):
    trained = run(config.replace(epochs=1), sets).trained
    with pytest.raises(TypeError, match="images must be an array or a tensor, got a Dataset: pass its images"):
        trained.predict(sets[1])
    with pytest.raises(TypeError, match="got a DataLoader: pass one batch of it"):
        trained.predict(torch.utils.data.DataLoader(sets[1].images))
    with pytest.raises(TypeError, match=r"model must be .*, got Trained; model\.model is its net"):
        train.evaluate(trained, sets[1])


def test_a_scaling_that_is_left_out_is_warned_of(config, sets, tmp_path):
    trained = run(config.replace(epochs=1, standardize=True), sets).trained
    with pytest.warns(
        UserWarning, match=r"trained on standardised data, and evaluate divides its bytes by 255 alone: pass norm"
    ):
        train.evaluate(trained.model, sets[1])
    with pytest.warns(UserWarning, match=r"and the file does not hold how: train\.save_model does"):
        save(trained.model, tmp_path / "net.safetensors")
    train.evaluate(trained.model, sets[1], normalize=data.Normalize())  # said
    x = trained.normalize(sets[1].images)
    train.evaluate(trained.model, (x, sets[1].labels))  # scaled by hand


def test_the_trained_net_comes_with_the_result(config, sets, tmp_path):
    result = run(config.replace(dropout=0.2, standardize=True), sets)
    trained = result.trained
    assert not trained.model.training and trained.epoch == config.epochs and trained.input_shape == (1, 6, 6)
    assert train.evaluate(trained.model, sets[1], normalize=trained.normalize) == result.test
    with_folder = run(config.replace(dropout=0.2, standardize=True), sets, directory=tmp_path)
    again = run(config.replace(dropout=0.2, standardize=True), sets, directory=tmp_path)
    read = load_model(tmp_path)
    for other in (with_folder.trained, again.trained, read):
        assert (other.normalize, other.input_shape, other.epoch) == (
            trained.normalize,
            trained.input_shape,
            trained.epoch,
        )
        assert all(
            torch.equal(value, other.model.state_dict()[key]) for key, value in trained.model.state_dict().items()
        )
    assert with_folder == again and train.Result.from_dict(again.to_dict()).trained is None


@pytest.mark.parametrize("own_code", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_net_that_is_given_to_a_finished_run_gets_its_weights(config, sets, tmp_path, monkeypatch, own_code, by_name):
    """A script that trains a net and goes on with it, started twice: the second time the run is only read."""
    config = config.replace(spec="", steps=8, data="digits" if by_name else "")
    monkeypatch.setattr(data, "load", lambda name, *, train, **_: sets[not train])
    options = {"progress": False, "directory": tmp_path} | ({} if by_name else {"datasets": sets})

    def fresh():
        torch.manual_seed(0)
        return OwnCode() if own_code else models.mlp("36-16-4", input_shape=(1, 6, 6), steps=8)

    first, second = fresh(), fresh()
    result = fit(config, model=first, **options)
    assert result.trained.model is first and not first.training
    assert fit(config, model=second, **options).trained.model is second and not second.training
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())
    assert any(not torch.equal(value, fresh().state_dict()[key]) for key, value in first.state_dict().items())


@pytest.mark.parametrize("standardize", [False, True])
def test_predictions_are_those_that_were_measured(config, sets, standardize):
    trained, test = run(config.replace(dropout=0.2, standardize=standardize), sets).trained, sets[1]
    trained.model.train()  # it is measured in eval mode, and left as it is
    answers = trained.predict(test.images)
    measured = train.evaluate(trained.model, test, normalize=trained.normalize)
    assert answers.dtype == torch.int64 and answers.shape == (60,) and trained.model.training
    assert float((answers == test.labels).double().mean()) == measured.accuracy
    for same in (test.images.numpy(), test.images[:, 0]):
        assert torch.equal(trained.predict(same), answers)
    floats = test.images.double() / 255
    assert torch.equal(trained.predict(floats), answers) and torch.equal(trained.predict(floats.numpy()), answers)
    assert trained.predict(test.images[:0]).shape == (0,)


def test_many_images_are_predicted_in_batches(config, sets):
    trained, sizes = run(config, sets).trained, []
    trained.model.register_forward_pre_hook(lambda net, arguments: sizes.append(len(arguments[0])))
    images = sets[0].images.repeat(8, 1, 1, 1)
    answers = trained.predict(images)
    assert max(sizes) <= 500 and sum(sizes) == len(images) == len(answers)
    assert not torch.is_inference_mode_enabled() and torch.equal(answers[:150], answers[150:300])


def test_predictions_of_spike_times(config, sets):
    times = tuple(
        data.from_arrays(encode.latency(part.images.flatten(1) / 255, config.steps), part.labels) for part in sets
    )
    trained, test = run(config.replace(encoder="spikes"), times).trained, times[1]
    answers = trained.predict(SpikeTimes(test.images, config.steps))
    assert float((answers == test.labels).double().mean()) == train.evaluate(trained.model, test).accuracy


def test_what_cannot_be_predicted_is_named(config, sets):
    trained = run(config.replace(epochs=1), sets).trained
    with pytest.raises(ValueError, match=r"images must be samples of the shape \[1, 6, 6\], got \[36\]"):
        trained.predict(sets[1].images.flatten(1))
    hint = r"\[1, 8, 8\]; scale the images to 6 x 6$"
    with pytest.raises(ValueError, match=hint):
        trained.predict(torch.zeros(2, 1, 8, 8))
    with pytest.raises(TypeError, match=r"images must be uint8, a float type, or SpikeTimes, got torch.int64"):
        trained.predict(sets[1].images.long())
    with pytest.raises(TypeError, match=r"images must be an array or a tensor"):
        trained.predict("images")
    bad = sets[1].images.float()
    bad[3, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"images must be finite, but image 3 holds NaN or infinity"):
        trained.predict(bad)
