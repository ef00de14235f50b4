"""Trained nets that come with the package: files of `firstspike.save`, each with a JSON record of its training.

`paper/pretrained.py` in the repository trains them and writes both files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._base import checks
from .._base.files import read_bytes, read_json, sha256
from .files import load
from .net import TTFSNet

if TYPE_CHECKING:
    import pandas

FOLDER = Path(__file__).resolve().parent / "weights"
_LIMIT = 64 << 20  # bytes of a file of weights


def names() -> list[str]:
    """The names of the nets that come with the package, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def record(name: str) -> dict[str, Any]:
    """The record of one of these nets: data, settings, sessions of its training, accuracy of the file, sha256."""
    checks.one_of("name", name, tuple(names()))
    content: dict[str, Any] = read_json(FOLDER / f"{name}.json")
    return content


def pretrained_file(name: str) -> Path:
    """The file of one of the trained nets, which `train.load_model` and the commands take.

    Parameters
    ----------
    name : one of `pretrained`.

    Raises
    ------
    ValueError : for another name, and where the file has not the sha256 of its record.

    Examples
    --------
    >>> pretrained_file("digits-cnn").name
    'digits-cnn.safetensors'
    """
    path, expected = FOLDER / f"{name}.safetensors", record(name)["sha256"]
    try:
        actual = sha256(read_bytes(path, limit=_LIMIT))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}); install firstspike again") from error
    if actual != expected:
        raise ValueError(f"{path} must have the sha256 {expected}, got {actual}; install firstspike again")
    return path


def load_pretrained(name: str) -> TTFSNet:
    """A trained net that comes with the package, in evaluation, on the CPU; `pretrained` lists the names.

    The net takes images [B, C, H, W] of its data set, uint8 or float32 in [0, 1], and gives scores [B, classes]. Weights are
    stored in 16 bits, gamma and bias as float32. The accuracy in the table was measured with exactly these weights. Errors as
    in `pretrained_file`.

    Parameters
    ----------
    name : one of `pretrained`.

    Examples
    --------
    >>> net = load_pretrained("digits-cnn")
    >>> net(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    net = load(pretrained_file(name))  # 16 bits become the parameters' float32
    assert isinstance(net, TTFSNet)
    return net


def pretrained() -> pandas.DataFrame:
    """The trained nets that come with the package, one per row, by name.

    Columns: data, or the folder of images; spec; timing; steps; readout; seed; epochs; parameters; accuracy of the file on the
    data's whole test set, in percent; size of the file in MB; commit of the training; file. `load_pretrained` loads one.

    Examples
    --------
    >>> pretrained().loc["digits-cnn", "spec"]
    '16C3-AP2-32C3-AP2-64-10'
    """
    import pandas  # not needed to load a net

    rows = []
    for name in names():
        net = record(name)
        config = {"timing": "step", **net["config"]}
        loaded = net["data"]["train"]["recipe"]  # a data set by its name, or a folder of images
        row = {"data": loaded.get("name") or Path(loaded["path"]).name}
        row |= {key: config[key] for key in ("spec", "timing", "steps", "readout", "seed", "epochs")}
        row |= {"parameters": net["parameters"], "accuracy": 100 * net["test"]["accuracy"], "MB": net["bytes"] / 1e6}
        rows.append(row | {"commit": net["sessions"][-1]["commit"], "file": str(FOLDER / f"{name}.safetensors")})
    return pandas.DataFrame(rows, index=pandas.Index(names(), name="name"))
