"""Any net of firstspike's layers in one file: tensors in safetensors, what it is built of in JSON, no pickle.

The same net gives the same bytes. `train.load_model` reads the files of a training run, and `load` reads both.
"""

from __future__ import annotations

import json
import os

from torch import nn

from ._base import checks, tensors
from ._base.checks import warn
from ._base.files import write_atomic
from ._base.modules import uncompiled, warn_of_hooks_within
from .data.normalize import warn_of_missing
from .models.description import FORMAT, VERSION, describe, empty_net

__all__ = ["load", "save"]


def save(net: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a net to one file that `load` reads: its tensors, and what it is built of; equal nets give equal bytes.

    net: a `models.TTFSNet`, a layer of `firstspike.nn`, or a chain of them: `torch.nn.Sequential` or `ModuleList` (of chains,
    too), `Identity` and `Flatten`; or what `torch.compile` made of one. A layer that occurs several times becomes as many
    equal ones. Raises TypeError naming the part of another kind (save its state_dict instead); OSError where the file cannot
    be written.

    Examples:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> save(models.mlp("64-32-10", steps=8), path)
        >>> load(path).spec
        '64-32-10'
    """
    checks.instance("net", net, nn.Module, "a module")
    net = uncompiled(net)
    target = checks.path("path", path)
    try:
        described = json.dumps(describe(net, "net"), sort_keys=True)
    except TypeError as error:
        raise TypeError(f"{error}; net.state_dict() holds the tensors of any net") from None
    warn_of_hooks_within(net, "the file")
    warn_of_missing(net, "the file does not hold how: train.save_model does")
    metadata = {"format": FORMAT, "version": str(VERSION), "net": described}
    write_atomic(target, tensors.dumps(net.state_dict(), metadata))


def load(path: str | os.PathLike[str]) -> nn.Module:
    """The net of a file of `save`, or of a run of `firstspike train` (its folder or model file): on the CPU, in evaluation.

    Warns where a run scaled its input (`standardize`): the net alone does not. `train.load_model` gives the net with its
    `normalize`, which its input has to go through, and a `predict` that does so (`train.Trained`).
    Raises OSError where there is no file, ValueError where it is damaged or none of ours.

    Examples:
        >>> load("nothing-here.safetensors")
        Traceback (most recent call last):
            ...
        FileNotFoundError: ...
    """
    if checks.path("path", path).is_dir():
        return _trained(path)
    file = tensors.read(path)
    if file.metadata.get("format") == "firstspike":
        return _trained(path)
    if file.metadata.get("format") != FORMAT or file.metadata.get("version") != str(VERSION):
        raise ValueError(f"{os.fspath(path)} is no net of firstspike.save, or one of a later version")
    try:
        net = empty_net(json.loads(file.metadata["net"]), file.tensors)
        net.load_state_dict(file.tensors)
    except (ValueError, TypeError, KeyError, RuntimeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} is a damaged net ({error})") from error
    return net.eval()


def _trained(path: str | os.PathLike[str]) -> nn.Module:
    from .data import Normalize  # the heavier parts of the package
    from .train import load_model

    trained = load_model(path)
    if trained.normalize != Normalize():
        warn(
            f"the net of {os.fspath(path)} was trained on scaled images, and does not scale them itself: "
            "firstspike.train.load_model gives it with the normalize that its input has to go through, and with predict"
        )
    return trained.model
