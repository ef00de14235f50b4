"""What may be given to `fit` besides a config: data, net, loss, optimizer, callbacks, weights to start from."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from firstspike import models, train
from firstspike.train import BadCheckpoint, fit, load_model

from .conftest import make_dataset, run


def curves(result):
    return [(entry.train.loss, entry.test.loss, entry.test.accuracy) for entry in result.history]


def test_arrays_and_tensors_train_as_the_data_set_does(config, sets):
    expected = run(config, sets)
    tensors = [(part.images[:, 0], part.labels.int()) for part in sets]
    arrays = [(part.images.numpy(), part.labels.numpy()) for part in sets]
    flat = [(part.images.flatten(1), part.labels) for part in sets]
    floats = [(part.images.double() / 255, part.labels) for part in sets]
    for pair in (tensors, arrays, flat, floats):
        assert curves(run(config, tuple(pair))) == curves(expected)
    assert run(config, tuple(arrays)).data["train"]["name"] == "arrays"


@pytest.mark.parametrize("own", [False, True])
def test_a_loader_trains_and_resumes_with_the_same_bits(config, sets, tmp_path, own):
    """Also where it shuffles with a generator of its own, wherever that is at the start."""
    config, generator = config.replace(data=""), torch.Generator() if own else None

    def loaders():
        train_set, test = (TensorDataset(part.images.float() / 255, part.labels) for part in sets)
        return DataLoader(train_set, batch_size=16, shuffle=True, generator=generator), DataLoader(test, batch_size=50)

    whole = run(config, loaders(), directory=tmp_path / "whole")
    assert whole.test.accuracy > 0.5 and whole.test.images == 60 and whole.history[0].train.images == 150
    assert whole.data["train"] == {"name": "DataLoader", "source": "torch.utils.data.dataset.TensorDataset",
                                   "samples": 150, "batch": 16, "batches": 10, "fingerprint": None,
                                   "recipe": None}  # fmt: skip
    run(config.replace(epochs=2, schedule="constant"), loaders(), directory=tmp_path / "parts")
    resumed = run(config.replace(schedule="constant"), loaders(), directory=tmp_path / "parts")
    assert curves(resumed) == curves(run(config.replace(schedule="constant"), loaders()))
    other = config.replace(epochs=1, spec="", lr=0.0)
    seen = [[], []]
    for seed, order in enumerate(seen):
        run(
            other.replace(seed=seed),
            loaders(),
            model=Dense(),
            loss=lambda scores, y, to=order: to.append(y) or margin(scores, y),
        )
    assert not torch.equal(*map(torch.cat, seen))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"limit": 3}, "limit needs data in memory"), ({"standardize": True}, "standardize needs data in memory")],
)
def test_what_a_loader_cannot_serve(config, sets, change, message):
    loader = DataLoader(TensorDataset(sets[0].images, sets[0].labels), batch_size=16)
    with pytest.raises(ValueError, match=message):
        run(config.replace(**change), (loader, loader))


def test_bad_data_are_named(config, sets):
    with pytest.raises(TypeError, match=r"the train data must be a data.Dataset, a pair of arrays .* got int"):
        run(config, (3, sets[1]))
    with pytest.raises(TypeError, match=r"datasets must be a pair"):
        run(config, sets[0])
    with pytest.raises(ValueError, match=r"images='somewhere' and datasets= name two data sets"):
        run(config, sets, images="somewhere")
    bad = sets[0].images.float()
    bad[7, 0, 2, 2] = float("nan")
    with pytest.raises(ValueError, match=r"image 7 holds NaN or infinity"):
        run(config, ((bad, sets[0].labels), sets[1]))
    loader = DataLoader(TensorDataset(bad, sets[0].labels), batch_size=16)
    with pytest.raises(ValueError, match=r"an input of the DataLoader holds NaN or infinity"):
        run(config, (loader, sets[1]))
    with pytest.raises(ValueError, match=r"train and test must have the same shape"):
        run(config, (sets[0], make_dataset(10, 1, side=5)))
    with pytest.raises(ValueError, match=r"data must be given"):
        fit(config.replace(data=""), progress=False)


@pytest.mark.parametrize(
    ("classes", "wanted"), [(3, "4 outputs, but the data have 3"), (7, "4 outputs, but the data have 7")]
)
def test_outputs_and_classes_must_agree(config, classes, wanted):
    sets = (make_dataset(50, 1, classes=classes, side=8), make_dataset(20, 2, classes=classes, side=8))
    with pytest.raises(ValueError, match=f"the net '64-24-4' has {wanted} classes"):
        run(config.replace(spec="64-24-4"), sets)


def test_labels_of_a_loader_beyond_the_net(config, sets):
    loader = DataLoader(TensorDataset(sets[0].images, sets[0].labels + 3), batch_size=150)
    with pytest.raises(ValueError, match="labels must be classes in 0..3, got"):
        run(config, (loader, sets[1]))


class Dense(nn.Module):
    """A net that firstspike does not know."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(36, 4)

    def forward(self, x):
        return self.layer(x.flatten(1))


def test_own_net(config, sets, tmp_path):
    config = config.replace(spec="", lr=0.05)
    torch.manual_seed(0)
    result = run(config, sets, model=Dense(), directory=tmp_path)
    assert result.test.accuracy > 0.8 and result.parameters == 36 * 4 + 4 and result.test.steps_mean is None
    assert result.given == {"model": "tests.train.test_own_parts.Dense"}
    with pytest.raises(ValueError, match=r"the run's net was given in Python; .*load_model\(path, model=net\)"):
        load_model(tmp_path)
    found = load_model(tmp_path, model=Dense())
    assert train.evaluate(found.model, sets[1], normalize=found.normalize) == result.test
    with pytest.raises(BadCheckpoint, match=r"model: none, not tests.train.test_own_parts.Dense"):
        run(config.replace(spec="36-24-4"), sets, directory=tmp_path)
    with pytest.raises(ValueError, match=r"spec must be given, or a net"):
        run(config, sets)
    with pytest.raises(ValueError, match=r"spec must be '' where a net is given \(model=\), got '36-24-4'"):
        run(config.replace(spec="36-24-4"), sets, model=Dense())


def test_own_ttfs_net_is_described_by_its_file(config, sets, tmp_path):
    net = models.mlp("36-12-4", input_shape=(1, 6, 6), steps=6, generator=torch.Generator().manual_seed(0))
    result = run(config.replace(spec=""), sets, model=net, directory=tmp_path)
    found = load_model(tmp_path)
    assert found.model.spec == "36-12-4" and found.model.steps == 6
    assert train.evaluate(found.model, sets[1]) == result.test


def test_a_net_without_scores_is_refused(config, sets):
    with pytest.raises(ValueError, match=r"the net must give scores \[B, classes\], got \[1, 1, 6, 6\]"):
        run(config.replace(spec=""), sets, model=nn.Identity())


def margin(scores, labels):
    return F.multi_margin_loss(scores, labels)


def each(scores, labels):
    return F.multi_margin_loss(scores, labels, reduction="none")


def test_own_loss(config, sets, tmp_path):
    mean = run(config, sets, loss=margin)
    single = run(config, sets, loss=each)
    assert mean.test.accuracy > 0.5 and mean.given == {"loss": "tests.train.test_own_parts.margin"}
    for one, other in zip(mean.history, single.history, strict=True):
        assert one.train.loss == pytest.approx(other.train.loss, rel=1e-4)
        assert one.train.loss != pytest.approx(run(config.replace(epochs=1), sets).history[0].train.loss)
    with pytest.raises(ValueError, match=r"loss must return a mean or one loss per sample \[16\], got \[16, 4\]"):
        run(config, sets, loss=lambda scores, labels: scores)


def test_own_optimizer_keeps_its_rates_under_the_schedule(config, sets):
    seen = []

    def two_rates(model):
        first, *rest = model.parameters()
        made = torch.optim.SGD([{"params": [first], "lr": 0.1}, {"params": rest, "lr": 0.01}])
        seen.append(made)
        return made

    result = run(config.replace(schedule="linear"), sets, optimizer=two_rates)
    last, total = result.history[-1].lr, 3 * 10
    assert last == pytest.approx(0.1 / total)
    assert [group["lr"] for group in seen[0].param_groups] == pytest.approx([0.1 / total, 0.01 / total])


def test_clipping_bounds_the_step(config, sets, monkeypatch):
    norms = []
    real = nn.utils.clip_grad_norm_

    def spy(parameters, most):
        parameters = list(parameters)
        real(parameters, most)
        norms.append(float(torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()))

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", spy)
    run(config.replace(clip=0.01, epochs=1), sets)
    assert len(norms) == 10 and max(norms) == pytest.approx(0.01, rel=1e-3)


def test_raised_epochs_extend_a_finished_run(config, sets, tmp_path):
    config = config.replace(schedule="constant")
    run(config, sets, directory=tmp_path)
    longer = run(config.replace(epochs=5), sets, directory=tmp_path)
    assert curves(longer) == curves(run(config.replace(epochs=5), sets))
    assert [session["first_epoch"] for session in longer.sessions] == [1, 4]
    assert load_model(tmp_path).epoch == 5
    with pytest.raises(BadCheckpoint, match=r"epochs: 4, not 5"):
        run(config.replace(epochs=4), sets, directory=tmp_path)


def test_init_from_starts_with_the_weights_of_another_run(config, sets, tmp_path):
    first = run(config, sets, directory=tmp_path / "first")
    again = run(config.replace(lr=0.0), sets, init_from=tmp_path / "first")
    assert again.test == first.test
    with pytest.raises(ValueError, match=r"the weights in init_from = .* do not fit the net: .*size mismatch"):
        run(config.replace(spec="36-20-4"), sets, init_from=tmp_path / "first")
    with pytest.raises(ValueError, match=r"init_from must be a run's folder or a model file"):
        run(config, sets, init_from=tmp_path / "nowhere")


def test_other_data_are_refused(config, sets, tmp_path):
    other = (make_dataset(150, 7), sets[1])
    run(config.replace(epochs=1), sets, directory=tmp_path)
    with pytest.raises(
        BadCheckpoint, match=r"holds a run on other data \(train: 150 samples of digits from made up, seed 7"
    ):
        run(config.replace(epochs=1), other, directory=tmp_path)
    (tmp_path / "result.json").unlink()
    with pytest.raises(BadCheckpoint, match=r"holds a run on other data"):
        run(config, other, directory=tmp_path)
    run(config, sets, directory=tmp_path)


def test_sessions_record_each_commit(config, sets, tmp_path, monkeypatch):
    from firstspike._base import provenance

    for index, commit in enumerate(["a" * 40, "b" * 40], start=1):
        monkeypatch.setattr(provenance, "own_commit", lambda commit=commit: commit)
        run(config.replace(epochs=index), sets, directory=tmp_path)
    found = json.loads((tmp_path / "result.json").read_text())["sessions"]
    assert [session["commit"][0] for session in found] == ["a", "b"]
    assert all(session["versions"]["torch"] and session["machine"]["cpu"] for session in found)


def test_limit_draws_per_class(config):
    labels = torch.arange(100) // 25  # sorted by class: the first 40 would be two classes only
    images = torch.randint(0, 256, (100, 1, 6, 6), dtype=torch.uint8)
    seen = []

    def loss(scores, y):
        seen.append(y)
        return F.cross_entropy(scores, y)

    run(config.replace(limit=40, epochs=1, spec=""), ((images, labels), (images, labels)), model=Dense(), loss=loss)
    assert torch.bincount(torch.cat(seen)).tolist() == [10, 10, 10, 10]


@pytest.mark.parametrize("name", ["layers.0.weight", "layers.0.gamma", "layers.1.bias"])
def test_a_weight_that_is_not_finite_is_found(config, sets, name):
    """A NaN in a weight only silences its neuron: loss and scores stay finite."""
    from firstspike.train import build_model

    net = build_model(config, input_shape=(1, 6, 6))
    parameters = dict(net.named_parameters())
    found = next((key for key in parameters if key.startswith(name[:8]) and name.split(".")[-1] in key), None)
    assert found is not None, sorted(parameters)
    with torch.no_grad():
        parameters[found].flatten()[0] = float("nan")
    with pytest.raises(train.Diverged, match=r"holds NaN or infinity before training"):
        run(config.replace(spec=""), sets, model=net)


def test_absurd_learning_rates_end_in_diverged(config, sets):
    with pytest.raises(train.Diverged, match=r"try a smaller lr than 1e\+38"):
        run(config.replace(lr=1e38, optimizer="sgd", schedule="constant"), sets)


def test_weights_of_a_net_trained_on_scaled_images_are_warned_of(config, sets, tmp_path):
    config = config.replace(epochs=1)
    run(config.replace(standardize=True), sets, directory=tmp_path)
    with pytest.warns(UserWarning, match="was trained on scaled images, and this run does not scale them"):
        run(config, sets, init_from=tmp_path)
    run(config.replace(standardize=True), sets, init_from=tmp_path)  # no warning


def test_image_size_needs_a_folder_of_images(config, sets):
    with pytest.raises(ValueError, match=r"image_size needs a folder of images \(images=\), got 14"):
        fit(config.replace(image_size=14), progress=False)
