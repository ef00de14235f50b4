"""Data and nets of one's own with a mistake in them: labels that are none, outputs that are no scores, nothing to train."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, TensorDataset

from firstspike import data, models, train
from firstspike import nn as fs
from firstspike.train.batches import loader_batches
from firstspike.train.distributed import ProcessGroup

from .conftest import make_dataset
from .test_own_parts import Dense, run


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (lambda y: y + 0.5, TypeError, r"labels must be of an integer type, got torch.float32"),
        (lambda y: y > 1, TypeError, r"labels must be of an integer type, got torch.bool"),
        (
            lambda y: F.one_hot(y, 4),
            ValueError,
            r"labels must be \[16\], one per input, got a tensor of shape \(16, 4\)",
        ),
        (lambda y: y[:, None], ValueError, r"labels must be \[16\], one per input"),
    ],
)
def test_labels_of_a_loader_that_are_no_labels(config, sets, labels, error, message):
    loader = DataLoader(TensorDataset(sets[0].images, labels(sets[0].labels)), batch_size=16)
    with pytest.raises(error, match=f"the DataLoader's {message}"):
        run(config, (loader, sets[1]))
    net = models.build("36-24-4", input_shape=(1, 6, 6), steps=4)
    with pytest.raises(error, match=f"the DataLoader's {message}"):
        train.evaluate(net, loader)


def test_a_loader_whose_batches_have_fewer_labels_than_inputs(config, sets):
    short = DataLoader([(sets[0].images[:8], sets[0].labels[:4])], batch_size=None)
    with pytest.raises(ValueError, match=r"the DataLoader's labels must be \[8\], one per input, got .* \(4,\)"):
        run(config, (short, sets[1]))
    single = DataLoader([(torch.tensor(3.0), torch.tensor(1))], batch_size=None)
    with pytest.raises(TypeError, match=r"the DataLoader's inputs must be tensors \[B, ...\] or SpikeTimes, got"):
        run(config, (single, sets[1]))


class Output(Dense):
    """A net that gives `change` of its scores."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(super().forward(x))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda scores: scores[:, 0], ValueError, r"got \[20\] for a batch of 20"),
        (lambda scores: scores[:5], ValueError, r"got \[5, 4\] for a batch of 20"),
        (lambda scores: (scores, scores), TypeError, r"of a float type, got tuple"),
        (
            lambda scores: scores.argmax(1),
            TypeError,
            r"of a float type, got a tensor of shape \(20,\) and type torch.int64",
        ),
    ],
)
def test_what_is_measured_must_give_scores(sets, change, error, message):
    with pytest.raises(error, match=rf"the net must give scores \[B, classes\],? ?{message}"):
        train.evaluate(Output(change), sets[1].subset(slice(0, 20)))


def test_a_net_whose_scores_change_with_the_batch(config, sets):
    with pytest.raises(ValueError, match=r"the net must give scores \[B, classes\], got \[1, 4\] for a batch of"):
        run(config.replace(spec=""), sets, model=Output(lambda scores: scores[:1]))


@pytest.mark.parametrize("net", [lambda: Dense().requires_grad_(False), lambda: Output(torch.detach)])
def test_a_net_without_anything_to_train(config, sets, net):
    with pytest.raises(ValueError, match=r"the net must have a parameter that is trained and that the loss depends on"):
        run(config.replace(spec=""), sets, model=net())


def test_an_optimizer_that_would_train_nothing_is_refused(config, sets):
    other = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="optimizer must have parameters of the net that it is given"):
        run(config, sets, optimizer=lambda net: torch.optim.SGD(other.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="optimizer must need one gradient per step, got LBFGS"):
        run(config, sets, optimizer=lambda net: torch.optim.LBFGS(net.parameters()))
    run(config.replace(epochs=1), sets, optimizer=lambda net: torch.optim.SGD(net.layers[1].parameters(), lr=0.1))


def test_classes_in_place_of_functions_are_refused(config, sets):
    class Stop:
        def __init__(self, epoch, net):
            raise AssertionError("never made")

    for name, value in (("loss", nn.CrossEntropyLoss), ("optimizer", torch.optim.Adam), (r"callbacks\[0\]", Stop)):
        given = {name.partition("\\")[0]: [value] if name.startswith("callbacks") else value}
        with pytest.raises(TypeError, match=f"{name} must be a function, got the class {value.__name__}"):
            run(config, sets, **given)


def test_training_and_test_data_on_different_scales_are_warned_of(config, sets):
    first, test = (dataclasses.replace(part, images=part.images / 255) for part in sets)
    once = config.replace(epochs=1)
    run(
        once, (first, sets[1])
    )  # floats in 0..1 beside uint8: both reach the net in 0..1, and a warning would be an error
    raw = dataclasses.replace(test, images=test.images * 255)
    for part in (first, sets[0]):
        with (
            pytest.warns(UserWarning, match=r"the images hold floats up to 239"),
            pytest.warns(UserWarning, match=r"train and test are on different scales: .* squares of 0\.\d+ and \d+"),
        ):
            run(once, (part, raw))


WARNED = r"the images hold floats up to 255 .* expected in \[0, 1\]: divide them by the largest"


def test_pixels_in_floats_that_nothing_divided_are_warned_of(config, sets):
    """Once, wherever images in [0, 1] are expected; not where they are standardised, and not of features."""
    config = config.replace(epochs=2)
    bright = tuple(dataclasses.replace(part, images=part.images.clone()) for part in sets)
    for part in bright:
        part.images[:, :, 0, 0] = 255
    raw = tuple(dataclasses.replace(part, images=part.images.float()) for part in bright)
    trained = run(config, bright).trained
    loader = DataLoader(TensorDataset(raw[1].images, raw[1].labels), batch_size=20)
    for call in (
        lambda: run(config, raw),
        lambda: run(config, (loader, loader)),
        lambda: train.evaluate(trained.model, raw[1]),
        lambda: train.evaluate(trained.model, loader),
        lambda: train.evaluate(trained.model, raw[1], normalize=data.Normalize((0.2,), (0.3,))),
        lambda: trained.predict(raw[1].images),
    ):
        with pytest.warns(UserWarning, match=WARNED) as caught:
            call()
        assert len({(str(one.message), one.lineno) for one in caught}) == 1  # Python shows it once
    standardised = run(config.replace(standardize=True), raw).trained
    standardised.predict(raw[1].images)
    train.evaluate(trained.model, dataclasses.replace(raw[1], images=raw[1].images - 30))
    wide = tuple(data.from_arrays(part.images.flatten(1), part.labels) for part in raw)
    run(config, wide)


def test_binary_images_in_bytes_are_warned_of(config, sets):
    binary = tuple(dataclasses.replace(part, images=(part.images > 100).to(torch.uint8)) for part in sets)
    with pytest.warns(UserWarning, match=r"are uint8 and hold 0 and 1 alone, which a net gets as 0 and 1/255"):
        run(config.replace(epochs=1, standardize=True), binary)
    run(config.replace(epochs=1), tuple(dataclasses.replace(part, images=part.images.float()) for part in binary))


def test_a_loss_that_sums_is_refused(config, sets):
    with pytest.raises(ValueError, match="loss must be the mean over a batch or one value per sample"):
        run(config, sets, loss=nn.CrossEntropyLoss(reduction="sum"))


def test_a_loader_whose_workers_go_on_is_refused(config, sets):
    loader = DataLoader(
        TensorDataset(sets[0].images, sets[0].labels), batch_size=16, num_workers=1, persistent_workers=True
    )
    with pytest.raises(ValueError, match="persistent_workers of the training DataLoader must be False, got True"):
        run(config, (loader, sets[1]))


def test_a_loader_that_shares_the_samples_itself_is_refused(sets):
    samples = TensorDataset(sets[0].images, sets[0].labels)
    sampler = DistributedSampler(samples, num_replicas=2, rank=0)
    for loader in (
        DataLoader(samples, batch_size=16, sampler=sampler),
        DataLoader(samples, batch_sampler=BatchSampler(sampler, 16, drop_last=False)),
    ):
        with pytest.raises(
            ValueError, match="must give every process the same batches.* leave its DistributedSampler out"
        ):
            next(loader_batches(loader, data.Normalize(), torch.device("cpu"), processes=ProcessGroup(0, 2)))
        assert next(loader_batches(loader, data.Normalize(), torch.device("cpu"), processes=ProcessGroup())).whole == 16


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (lambda: make_dataset(20, 2, classes=5), "labels must be classes in 0..3, got 4"),
        (lambda: DataLoader(make_dataset(20, 2, classes=5), batch_size=20), "labels must be classes in 0..3, got 4"),
        (lambda: DataLoader(make_dataset(20, 2, side=8), batch_size=20), r"mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_mistakes_in_the_test_data_are_found_before_training(config, sets, test, message):
    steps = []
    with pytest.raises(ValueError, match=f"the test data: {message}"):
        run(config.replace(spec=""), (sets[0], test()), model=Dense(), loss=lambda scores, labels: steps.append(1))
    assert not steps
    train_loader, empty = (DataLoader(make_dataset(size, 2), batch_size=20) for size in (20, 0))
    with pytest.raises(ValueError, match="the test data: there must be at least one sample"):
        run(config, (train_loader, empty))


def test_a_loader_of_unknown_length_is_refused(config, sets):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    with pytest.raises(TypeError, match="the train data must know its number of batches .*Stream"):
        run(config, (DataLoader(Stream()), sets[1]))


@pytest.mark.parametrize("label", ["cat", {"class": 1}])
def test_labels_of_a_loader_that_are_no_numbers(config, sets, label):
    loader = DataLoader([(image, label) for image in sets[0].images], batch_size=16)
    with pytest.raises(TypeError, match="the DataLoader's labels must be integers, one per input, got"):
        run(config, (loader, sets[1]))


class Once(IterableDataset):
    """Gives its samples once."""

    def __init__(self, part):
        self.left = iter(list(zip(part.images, part.labels, strict=True)))

    def __iter__(self):
        return self.left

    def __len__(self):
        return 150


@pytest.mark.filterwarnings("ignore:the DataLoader gave 9 batches")
def test_a_loader_that_is_empty_the_second_time(config, sets):
    with pytest.raises(ValueError, match="must give at least one sample each time it is gone through, got none"):
        run(config, (DataLoader(Once(sets[0]), batch_size=16), sets[1]))


def test_a_batch_without_samples_is_refused(config, sets):
    def filtered(samples):
        kept = [(x, y) for x, y in samples if y < 2]
        images = torch.stack([x for x, _ in kept]) if kept else torch.zeros(0, 1, 6, 6)
        return images, torch.tensor([y for _, y in kept], dtype=torch.int64)

    pairs = [(sets[0].images[index] / 255, index % 2 if index < 20 else 3) for index in range(40)]
    loader = DataLoader(pairs, batch_size=10, collate_fn=filtered)
    with pytest.raises(
        ValueError, match="the DataLoader must give at least one sample per batch to train on, got none"
    ):
        run(config, (loader, sets[1]))


def test_a_loss_that_a_checkpoint_cannot_hold_is_refused_before_training(config, sets, tmp_path):
    class Loss(nn.Module):
        def forward(self, scores, labels):
            return nn.functional.cross_entropy(scores, labels)

        def get_extra_state(self):
            return {"seen": 3}

        def set_extra_state(self, state):
            assert state

    with pytest.raises(
        TypeError, match="the loss's state_dict must hold dense tensors alone, got dict as _extra_state"
    ):
        run(config, sets, loss=Loss(), directory=tmp_path)
    assert run(config.replace(epochs=1), sets, loss=Loss()).history


def test_the_advice_names_the_rate_that_was_set(config, sets):
    with pytest.raises(train.Diverged, match="try a smaller learning rate of the optimizer, a warmup, or clip"):
        run(config.replace(schedule="constant"), sets, optimizer=lambda net: torch.optim.SGD(net.parameters(), lr=1e38))


def test_a_pair_of_data_is_named(sets):
    x, y = sets[0].images, sets[0].labels
    with pytest.raises(ValueError, match=r"the test data: labels must be int64"):
        train.fit(train.Config(spec="8-4", epochs=1), datasets=((x, y), (x, y[:5])), progress=False)
    with pytest.raises(TypeError, match=r"the train data: y must be of an integer type"):
        train.fit(train.Config(spec="8-4", epochs=1), datasets=((x, y.float()), (x, y)), progress=False)


def test_frozen_thresholds_stay_as_they_are(config, sets):
    hidden = fs.TTFSLinear(36, 8, steps=4, threshold=nn.Parameter(torch.full((8,), 1e-4)))
    net = nn.Sequential(nn.Flatten(), fs.LatencyEncoder(4), hidden, fs.Integrate(8, 4, steps=4), fs.MembraneReadout())
    with pytest.raises(ValueError, match=r"learned thresholds must be at least 0\.001, .* got 0\.0001"):
        train.fit(config.replace(spec="", steps=8, epochs=1), model=net, datasets=sets, progress=False)
    hidden.threshold.requires_grad_(False)
    train.fit(config.replace(spec="", steps=8, epochs=1), model=net, datasets=sets, progress=False)
    assert torch.equal(hidden.threshold, torch.full((8,), 1e-4))
