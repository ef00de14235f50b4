"""Read a run's folder or model file: the net, its data, and what identifies it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from torch import Tensor, nn

from .. import data
from .._base import checks
from .._base.modules import uncompiled
from ..data import Dataset
from ..data.images import check_classes
from ..models import files
from . import checkpoint
from .result import RunInfo


def load_model(path: str | os.PathLike[str], *, model: nn.Module | None = None) -> nn.Module:
    """Read the net of a file of `firstspike.save`, or of a run's folder, finished or not; on the CPU, in evaluation mode.

    The net of a run that is going on is the one after its last finished epoch. `model` gets the weights of a net with custom
    code.

    Parameters
    ----------
    path : a file of `firstspike.save`, or a run's folder.
    model : gets the weights of a net with custom code.

    Raises
    ------
    OSError : if there is no such file, ValueError if it is damaged, or does not fit `model`.

    Examples
    --------
    >>> result = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), directory="run", progress=False)
    >>> train.evaluate(train.load_model("run"), data.load("digits", train=False)).accuracy == result.test.accuracy
    True
    """
    path = checks.path("path", path)
    if model is not None:
        checks.instance("model", model, nn.Module, "a torch.nn.Module")
        put_weights(model, load_weights(path), str(path))
        return model.eval()
    going = _running(path)
    if going is None:
        return files.load(path)
    if going.progress.net is None:
        raise ValueError(f"the net of {path} has custom code; give it again: load_model(path, model=net)")
    return files.rebuild(going.progress.net, going.net_weights())


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a net by name, of a run's folder or a file of `firstspike.save`; errors as `load_model`."""
    path = checks.path("path", path)
    going = _running(path)
    return files.load_weights(path) if going is None else going.net_weights()


def last_weights(folder: Path, epoch: int) -> dict[str, Tensor]:
    """Return the tensors of a finished run's net after this epoch; pruned weights stay pruned if its checkpoint is there."""
    kept = checkpoint.load(folder)
    if kept is None or kept.progress.run.epoch != epoch:
        return files.load_weights(folder)
    return kept.net_weights()


def put_weights(net: nn.Module, weights: dict[str, Tensor], origin: str) -> None:
    """Put weights into a net; ValueError that names the origin if names or shapes differ."""
    try:
        uncompiled(net).load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the weights in {origin} do not fit the net: {' '.join(str(error).split())[:500]}") from error


def load_info(path: str | os.PathLike[str]) -> RunInfo:
    """Read what identifies the run of a folder or of its model file: config, data, tag; ValueError for a net without a run.

    Parameters
    ----------
    path : a run's folder, or its model file.

    Examples
    --------
    >>> result = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), directory="run", progress=False)
    >>> train.load_info("run").epoch
    1
    """
    path = checks.path("path", path)
    going = _running(path)
    if going is not None:
        return going.progress.run
    metadata = files.read_metadata(path)
    if not metadata:
        raise ValueError(f"{path} is a net without a run: firstspike.load reads it in Python")
    return RunInfo.from_dict(metadata, str(path))


def load_data(
    path: str | os.PathLike[str],
    *,
    train: bool,
    images: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool | None = None,
) -> Dataset:
    """Load the data that the net of a run was trained or tested on; warn if they are no longer the same.

    Parameters
    ----------
    path : the run's folder or model file.
    train : True for the training images, False for the test images.
    images : a folder of images that replaces the recorded one (which may have moved).
    root, download : see `data.load`.

    Raises ValueError if the data were given in Python, or a folder of images has other classes; NotAvailable as `data.load`.

    Examples
    --------
    >>> result = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), directory="run", progress=False)
    >>> len(train.load_data("run", train=False))
    360
    """
    info = load_info(path)
    kept = info.data["train" if train else "test"]
    recipe = kept.to_dict()["recipe"]
    if images is not None:
        dataset = data.load_images(images, train=train, size=info.config.image_size)
        check_classes(dataset, recipe or {})
    elif recipe is None:
        ways = "train.evaluate takes them there; or name a folder of images (--images)"
        raise ValueError(f"the run's data ({kept.name}) were given in Python: {ways}")
    else:
        dataset = data.reload(recipe, train=train, root=root, download=download)
    if kept.fingerprint not in (None, dataset.fingerprint()):
        warnings.warn(f"the {'training' if train else 'test'} data are not the run's: {dataset.source} has changed", stacklevel=2)
    return dataset


def _running(path: Path) -> checkpoint.Checkpoint | None:
    """The checkpoint of a folder whose run has not ended."""
    if not path.is_dir() or (path / files.FILE).exists():
        return None
    kept = checkpoint.load(path)
    if kept is None:
        raise ValueError(f"path must be a run's folder or a model file; {str(path)!r} has no checkpoint")
    return kept
