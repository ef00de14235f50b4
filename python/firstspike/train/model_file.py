"""A trained net in one file: weights in safetensors; config, input scaling and data record in its metadata."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .. import models
from .._base import checks
from .._base.modules import uncompiled, warn_of_hooks_within
from ..data import Normalize
from ..models import files, shipped
from ..models.files import FILE
from . import checkpoint
from .build import build_model, weights_of_spec
from .checkpoint import load_state
from .config import Config
from .trained import Trained


def save_model(path: str | os.PathLike[str], trained: Trained) -> None:
    """Write a net to one safetensors file, in one step; the same net gives the same bytes.

    Raises TypeError for what is no trained net or path, and OSError where the file cannot be written.

    Examples:
        >>> import os, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> result = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), directory=folder, progress=False)
        >>> trained = train.load_model(folder)
        >>> train.save_model(os.path.join(folder, "copy.safetensors"), trained)
    """
    checks.instance("trained", trained, Trained, "a train.Trained")
    target = checks.path("path", path)
    if trained.net is not None or trained.config.spec:  # other files are read into a net that is given, with its hooks
        warn_of_hooks_within(uncompiled(trained.model), "the file")
    metadata = {
        "config": trained.config.to_dict(),
        "normalize": trained.normalize.to_dict(),
        "input_shape": trained.input_shape,
        "epoch": trained.epoch,
        "data": trained.data,
        "net": trained.net,
    }
    try:
        files.save(trained.model, target, metadata)
    except TypeError:  # a net with code of its own
        files.save_weights(trained.model, target, metadata)


def load_model(path: str | os.PathLike[str], *, model: nn.Module | None = None) -> Trained:
    """Read a net from a file of `save_model`, or from a run's folder, finished or not; on the CPU, in eval mode.

    The run may be going on: then the net is that of one of its epochs.

    Args:
        path: the file or the folder.
        model: the net into which the weights go, for a net that was given to `fit` and has code of its own.

    Raises:
        ValueError: if there is neither, or the file is damaged or none of ours.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> result = train.fit(train.Config(data="digits", spec="64-16-10", epochs=1), directory=folder, progress=False)
        >>> trained, test = train.load_model(folder), data.load("digits", train=False)
        >>> train.evaluate(trained.model, test, normalize=trained.normalize).accuracy == result.test.accuracy
        True
    """
    path = checks.path("path", path)
    checks.optional("model", model, nn.Module, "a torch.nn.Module")
    content = _read(path)
    if content is None:
        return _from_checkpoint(path, model)
    with _damage(str(path)):
        facts = files.read_metadata(path)
    if "config" not in facts:
        raise ValueError(f"{path} is a net without a run; firstspike.load reads it")
    with _damage(str(path)):
        config = Config.from_dict(facts["config"])
        if model is None and facts.get("net") is None and not config.spec:
            raise ValueError("the run's net was given in Python; give it again: load_model(path, model=net)")
        if model is None:
            model = files.load(path)
        else:
            load_state(model, content, str(path))
        shape = tuple(facts.get("input_shape", None) or model.input_shape)
        data, net = facts["data"], facts.get("net")
        return Trained(model.eval(), config, _scaling(facts), shape, int(facts["epoch"]), data, net)


def _scaling(facts: Mapping[str, Any]) -> Normalize:
    return Normalize.from_dict(facts["normalize"]) if "normalize" in facts else Normalize()


def load_weights(name: str, path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Normalize]:
    """The tensors of a net by their names, and how its run scaled images (as they are, without a run).

    Of a run, of a file of `save_model`, or of one of `firstspike.save`. name: of the argument. Raises ValueError as
    `load_model` does.
    """
    path = checks.path(name, path)
    content = _read(path, name)
    if content is None:
        progress, weights, origin = _checkpoint(path, name)
        with _damage(origin):
            return weights, Normalize.from_dict(progress.normalize)
    with _damage(str(path)):
        return content, _scaling(files.read_metadata(path))


def _read(path: Path, name: str = "path") -> dict[str, Tensor] | None:
    """A file of ours, or that of a run's folder; None for a folder where there is none yet. Raises ValueError for others."""
    file = path / FILE if path.is_dir() else path
    try:
        return files.load_weights(file)
    except (FileNotFoundError, NotADirectoryError):
        if path.is_dir():
            return None
        ships = f"; models.pretrained_file({str(path)!r}) is the net that ships" if str(path) in shipped.names() else ""
        raise ValueError(f"{name} must be a run's folder or a model file, got {str(path)!r}{ships}") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from error


def _checkpoint(directory: Path, name: str = "path") -> tuple[checkpoint.Progress, dict[str, Tensor], str]:
    """How far the run in a folder is, the net's tensors, and the file that they are from."""
    found = checkpoint.load_both(directory)
    if found is None:
        raise ValueError(f"{name} must be a run's folder or a model file; {str(directory)!r} has no checkpoint")
    progress, record, tensors = found
    weights = checkpoint.part(tensors, "model") | checkpoint.part(tensors, "average")
    return progress, weights, str(directory / str(record["tensors"]))


def _from_checkpoint(directory: Path, model: nn.Module | None) -> Trained:
    progress, weights, origin = _checkpoint(directory)
    with _damage(origin):
        return _trained(vars(progress), progress.normalize, progress.epoch, weights, model, origin)


def _trained(
    facts: Mapping[str, Any],
    scaling: Mapping[str, Any],
    epoch: int,
    weights: dict[str, Tensor],
    model: nn.Module | None,
    origin: str,
) -> Trained:
    config = Config.from_dict(facts["config"])
    shape = tuple(facts["input_shape"])
    if not shape or not all(type(size) is int and size > 0 for size in shape):
        raise ValueError(f"input_shape must be positive whole numbers, got {shape}")
    net, data = facts["net"], facts["data"] or {}
    if not isinstance(data, dict) or not all(isinstance(part, dict) for part in data.values()):
        raise TypeError("data must be a table of tables")
    if model is None:
        model = _net(config, shape, net, weights)
    load_state(model, weights, origin)
    return Trained(model.eval(), config, Normalize.from_dict(scaling), shape, epoch, data, net)


def _net(config: Config, shape: tuple[int, ...], net: dict[str, Any] | None, weights: dict[str, Tensor]) -> nn.Module:
    """The net, its weights not loaded yet; refused before anything is allocated if the file has fewer weights than it."""
    if net is not None and "kind" in net:
        return files.rebuild(net, weights)
    spec = config.spec if net is None else str(net["spec"])
    if not spec:
        raise ValueError("the run's net was given in Python; give it again: load_model(path, model=net)")
    population = config.population if net is None else net["population"]
    wanted, present = weights_of_spec(spec, shape, population), sum(value.numel() for value in weights.values())
    if wanted > present:
        raise ValueError(f"the net {spec!r} has {wanted} weights, but the file only {present} numbers")
    return build_model(config, input_shape=shape) if net is None else models.from_config(net)


@contextlib.contextmanager
def _damage(origin: str) -> Iterator[None]:
    """Whatever is wrong with a file's content becomes a ValueError that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{origin} cannot be loaded: {what}") from error
