"""Folders of images, one folder per class: DIR/train/CLASS/* and DIR/test/CLASS/*, png, jpg and others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._base import checks
from .._base.checks import warn
from .dataset import Dataset, split
from .errors import NotAvailable
from .progress import say

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
HELD_OUT = 0.2  # share of train that serves as test set where there is no folder test
LIMIT = 16 << 30  # bytes of all pixels of one part
_ORIENTATION = 0x0112  # of EXIF
_WITH_ALPHA = ("LA", "PA", "La", "RGBA", "RGBa")  # LAB has a band A, too
_DEEP = re.compile(r";16[BLN]")  # in raw modes of Pillow, such as RGB;16B; BGR;16 has 16 bits in all


def load_images(folder: str | os.PathLike[str], *, train: bool, size: int = 0) -> Dataset:
    """Load one part of a folder of images (torchvision's layout, `DIR/train/CLASS/*` and `DIR/test/CLASS/*`).

    Classes are numbered in the order of their folders' names. Files and folders whose names begin with a dot are passed
    over; symbolic links are followed. Images are turned upright, as their EXIF orientation says. They are grey,
    [N, 1, H, W], if all files of the training part are; else RGB, [N, 3, H, W]. Without a folder `test`, a fifth of each class
    of `train`, drawn with a fixed seed, is the test part, which is said on stderr.

    Args:
        folder: DIR.
        train: True for the training part, False for the test part.
        size: 0 keeps the images, which then must all be of one size; S scales each to S x S pixels. A config has it as
            `image_size`.

    Raises:
        NotAvailable: if Pillow is not installed.
        ValueError: naming the folder or file, if one is missing, no image, of another size, of more than 8 bits per
            channel, of several pages or frames, or transparent somewhere.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for part in ("train/cat", "train/dog", "test/cat", "test/dog"):
        ...     (root / part).mkdir(parents=True)
        ...     Image.new("L", (6, 4)).save(root / part / "one.png")
        >>> data.load_images(root, train=True, size=8)
        Dataset(images: 2 samples of 1 x 8 x 8, uint8, 2 classes, from folder ...)
    """
    root = checks.path("folder", folder).expanduser()
    checks.boolean("train", train)
    size = checks.integer("size", size, 0, 4096)
    names, files, grey = _training_part(root)
    recipe = {"kind": "images", "path": str(root.resolve()), "size": size, "classes": names}
    separate = (root / "test").is_dir()
    if not train and separate:
        other = _classes(root / "test")
        if unknown := sorted(set(other) - set(names)):
            raise ValueError(f"{root / 'test'} has classes that {root / 'train'} has not: {', '.join(unknown)}")
        if lacking := [name for name in names if name not in other]:
            warn(f"{root / 'test'} has no images of {', '.join(lacking)}: an accuracy is over the other classes alone")
        shape = _read(files[0][0], grey, size).shape
        return _dataset(root / "test", _files(root / "test", other, names), names, grey, size, recipe, shape)
    whole = _dataset(root / "train", files, names, grey, size, recipe, None)
    if separate:
        return whole
    if len(whole) < 2:
        raise ValueError(f"{root / 'train'} must hold at least two images where there is no folder test")
    if train:
        say(f"{root} has no folder test: {HELD_OUT:.0%} of the images of each class are held out as the test set")
    part = split(whole, validation=max(1, round(HELD_OUT * len(whole))))[0 if train else 1]
    return replace(part, recipe=recipe)


def check_classes(dataset: Dataset, recipe: Mapping[str, Any]) -> None:
    """Raise ValueError where a set of `load_images` has other classes than a recorded recipe: its labels mean others."""
    own, known = dataset.recipe or {}, recipe.get("classes")
    if known is not None and list(known) != own["classes"]:
        raise ValueError(
            f"{own['path']} must have the classes of the recorded data, {', '.join(map(str, known))}, "
            f"got {', '.join(own['classes'])}"
        )


def image_shape(folder: str | os.PathLike[str], *, size: int = 0) -> tuple[int, ...]:
    """(channels, height, width) of what `load_images` gives; of the pixels only those of the first image are read.

    Raises as `load_images`; an image of another size is not found.
    """
    _, files, grey = _training_part(checks.path("folder", folder).expanduser())
    return _read(files[0][0], grey, size).shape


def _training_part(root: Path) -> tuple[list[str], list[tuple[Path, int]], bool]:
    """The names of the classes, the files with their labels, and whether all are grey."""
    names = _classes(root / "train")
    files = _files(root / "train", names)
    return names, files, all(_is_grey(path) for path, _ in files)


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder with one folder of images per class")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise ValueError(f"{folder} must hold one folder of images per class, but it holds no folder")
    return names


def _files(folder: Path, classes: list[str], names: list[str] | None = None) -> list[tuple[Path, int]]:
    """All images below the folders of classes, in the order of their paths, each with its label (its place in `names`)."""
    found, others = [], []
    for name in classes:
        inside = [path for path in sorted(_below(folder / name)) if not _is_hidden(path.relative_to(folder))]
        paths = [path for path in inside if _is_known(path)]
        if not paths:
            raise ValueError(f"{folder / name} holds no image ({', '.join(SUFFIXES)})")
        found += [(path, (names or classes).index(name)) for path in paths]
        others += [path for path in inside if not _is_known(path)]
    if others:
        kinds = ", ".join(sorted({path.suffix or path.name for path in others}))
        say(f"{folder} holds {len(others)} files that are left out, as they are no images of a known kind: {kinds}")
    return found


def _below(folder: Path) -> Iterator[Path]:
    """All files below a folder, also behind symbolic links; a folder within itself once."""
    for place, folders, names in os.walk(folder, followlinks=True):
        above = {os.path.realpath(parent) for parent in (Path(place), *Path(place).parents)}
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(place, name)) not in above]
        yield from (Path(place, name) for name in names)


def _is_hidden(path: Path) -> bool:
    """Whether a file or a folder on the way to it is left to other programs, such as .ipynb_checkpoints or ._0.png."""
    return any(part.startswith(".") for part in path.parts)


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _dataset(
    folder: Path,
    files: list[tuple[Path, int]],
    names: list[str],
    grey: bool,
    size: int,
    recipe: dict[str, Any],
    shape: tuple[int, ...] | None,
) -> Dataset:
    first = shape or _read(files[0][0], grey, size).shape
    if len(files) * int(np.prod(first)) > LIMIT:
        raise ValueError(
            f"{folder} has {len(files)} images of {first[1]} x {first[2]} pixels, more than the bound of {LIMIT >> 30} "
            "GiB; take a smaller size (in a config image_size)"
        )
    images = np.empty((len(files), *first), np.uint8)
    for index, (path, _) in enumerate(files):
        pixels = _read(path, grey, size)
        if pixels.shape != first:
            raise ValueError(
                f"{path} has {pixels.shape[2]} x {pixels.shape[1]} pixels, others have {first[2]} x {first[1]}; "
                "the setting image_size = S (size=S of data.load_images) scales all images to S x S"
            )
        images[index] = pixels
    labels = torch.tensor([label for _, label in files])
    return Dataset(torch.from_numpy(images), labels, len(names), "images", f"folder {folder}", recipe=recipe)


def _open(path: Path) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise NotAvailable(
            "images", [f"import PIL: {error}"], "Install Pillow, which reads images: pip install pillow"
        ) from error
    try:
        return Image.open(path)
    except Exception as error:  # Pillow's readers raise nearly anything for a damaged file
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def _is_grey(path: Path) -> bool:
    with _open(path) as image:
        return image.mode in ("1", "L", "LA")


def _read(path: Path, grey: bool, size: int) -> np.ndarray:
    """The pixels of a file, uint8 [C, H, W]."""
    with _open(path) as image:
        try:
            unfit = _too_much(image)  # first: once pixels are read, the decoder's arguments are gone
            whole = _upright(image)
            whole = whole.convert("RGBA") if "transparency" in image.info else whole
            unfit = unfit or _transparent(whole)
            converted = whole.convert("L" if grey else "RGB")
            if size:
                converted = converted.resize((size, size), 2)  # bilinear; antialiased where it scales down
            pixels = np.asarray(converted)
        except Exception as error:
            raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if unfit:
        raise ValueError(f"{path} {unfit}")
    return pixels[None] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _upright(image: Any) -> Any:
    """The image as viewers show it: a camera's file may say that its pixels are to be turned."""
    from PIL import ImageOps

    return image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)


def _too_much(image: Any) -> str:
    """What a file has that one image of 8 bits per channel does not hold, with what to do; "" for nothing."""
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a camera's JPEG beside previews of it
    if frames > 1:
        return f"has {frames} pages or frames, of which one alone would be read; write each into a file of its own"
    if image.mode[0] in "IF":  # "I;16", "I" or "F"
        return f"has pixels of more than 8 bits (mode {image.mode}), which would be cut off at 255; scale it to 8 bits"
    if any(_cuts(decoder, arguments) for decoder, _, _, arguments in image.tile):
        return f"has channels of 16 bits, of which {image.mode} keeps 8; scale it to 8 bits"
    return ""


def _cuts(decoder: str, arguments: Any) -> bool:
    """Whether a decoder of Pillow gives 8 bits of a channel that has 16: its raw mode says so, or the largest value of a pnm."""
    return bool(_DEEP.search(str(arguments))) or (decoder in ("ppm", "ppm_plain") and arguments[1] > 255)


def _transparent(image: Any) -> str:
    """Whether a conversion would lose transparency, with what to do; "" where it would not."""
    if image.mode not in _WITH_ALPHA or image.getchannel("A").getextrema()[0] == 255:
        return ""
    return "is transparent somewhere, which would be lost; paste it onto a background"
