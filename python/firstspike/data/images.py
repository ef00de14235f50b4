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
from .dataset import Dataset, split
from .sources import library, say

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")  # no other reader of Pillow sees a file, whatever its name
HELD_OUT = 0.2  # share of train that serves as test set where there is no folder test
_WITH_ALPHA = ("LA", "PA", "La", "RGBA", "RGBa")  # LAB has a band A, too
_DEEP = re.compile(r";16[BLN]")  # in raw modes of Pillow, such as RGB;16B; BGR;16 has 16 bits in all


def load_images(folder: str | os.PathLike[str], *, train: bool, size: int = 0) -> Dataset:
    """Load one part of a folder of images (torchvision's layout, `DIR/train/CLASS/*` and `DIR/test/CLASS/*`).

    Classes are numbered in the order of their folders' names. Names that begin with a dot are passed over; symbolic
    links are followed. Images are turned upright, as their EXIF orientation says. They are grey, [N, 1, H, W], if all
    files of the training part are; else RGB, [N, 3, H, W]. Without a folder `test`, a fifth of each class of `train`,
    drawn with a fixed seed, is the test part; stderr says so.

    Parameters
    ----------
    folder : DIR.
    train : True for the training part, False for the test part.
    size : 0 keeps the images, which then must all be of one size; S scales each to S x S pixels. A config has it as
        `image_size`.

    Raises
    ------
    NotAvailable : if Pillow is not installed.
    ValueError : for a missing or empty folder, and for a file that is not an image or would lose something in conversion:
        more than 8 bits per channel, several pages or frames, transparency.

    Examples
    --------
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
        present = _classes(root / "test")
        if unknown := sorted(set(present) - set(names)):
            raise ValueError(f"{root / 'test'} has classes that {root / 'train'} has not: {', '.join(unknown)}")
        shape = _read(files[0][0], grey, size).shape
        return _dataset(root / "test", _files(root / "test", present, names), shape, grey, recipe)
    complete = _dataset(root / "train", files, _read(files[0][0], grey, size).shape, grey, recipe)
    if separate:
        return complete
    if train:
        say(f"{root} has no folder test: {HELD_OUT:.0%} of the images of each class are held out as the test set")
    part = split(complete, validation=max(1, round(HELD_OUT * len(complete))))[0 if train else 1]
    return replace(part, recipe=recipe)


def check_classes(dataset: Dataset, recipe: Mapping[str, Any]) -> None:
    """Raise ValueError if a set of `load_images` has other classes than a recorded recipe: its labels mean others."""
    now, known = dataset.recipe or {}, recipe.get("classes")
    if known is not None and known not in (now["classes"], tuple(now["classes"])):
        raise ValueError(f"{now['path']} must have the classes of the recorded data, {known}, got {now['classes']}")


def image_shape(folder: str | os.PathLike[str], *, size: int = 0) -> tuple[int, ...]:
    """Return (channels, height, width) of the images of `load_images`; only the first image's pixels are read."""
    _, files, grey = _training_part(checks.path("folder", folder).expanduser())
    return _read(files[0][0], grey, size).shape


def _training_part(root: Path) -> tuple[list[str], list[tuple[Path, int]], bool]:
    """Return the names of the classes, the files with their labels, and True if all are grey."""
    names = _classes(root / "train")
    files = _files(root / "train", names, names)
    return names, files, all(_is_grey(path) for path, _ in files)


def _classes(folder: Path) -> list[str]:
    inside = folder.iterdir() if folder.is_dir() else ()
    names = sorted(entry.name for entry in inside if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise ValueError(f"{folder} must be a folder with one folder of images per class")
    return names


def _files(folder: Path, present: list[str], names: list[str]) -> list[tuple[Path, int]]:
    """Return all images below the folders of classes, in the order of their paths, each with its label: a place in `names`."""
    images = []
    for name in present:
        paths = sorted(path for path in _below(folder / name) if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise ValueError(f"{folder / name} holds no image ({', '.join(SUFFIXES)})")
        images += [(path, names.index(name)) for path in paths]
    return images


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, also behind symbolic links; a folder within itself once; no hidden names."""
    for place, folders, names in os.walk(folder, followlinks=True):
        above = {os.path.realpath(parent) for parent in (Path(place), *Path(place).parents)}
        folders[:] = [n for n in folders if n[0] != "." and os.path.realpath(os.path.join(place, n)) not in above]
        yield from (Path(place, name) for name in names if name[0] != ".")


def _dataset(folder: Path, files: list[tuple[Path, int]], shape: tuple[int, ...], grey: bool, recipe: dict[str, Any]) -> Dataset:
    images = np.empty((len(files), *shape), np.uint8)
    for index, (path, _) in enumerate(files):
        pixels = _read(path, grey, recipe["size"])
        if pixels.shape != shape:
            raise ValueError(
                f"{path} has {pixels.shape[2]} x {pixels.shape[1]} pixels, others have {shape[2]} x {shape[1]}; "
                "the setting image_size = S (size=S of data.load_images) scales all images to S x S"
            )
        images[index] = pixels
    labels = torch.tensor([label for _, label in files])
    source = f"folder {folder}"
    return Dataset(torch.from_numpy(images), labels, len(recipe["classes"]), "images", source, recipe=recipe)


def _open(path: Path) -> Any:
    if not path.is_file():  # such as a named pipe, which would be waited for
        raise ValueError(f"{path} is not a regular file")
    reader = library("images", "PIL.Image", "pillow")
    try:
        return reader.open(path, formats=FORMATS)
    except Exception as error:  # Pillow's readers raise nearly anything for a damaged file
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def _is_grey(path: Path) -> bool:
    with _open(path) as image:
        return image.mode in ("1", "L", "LA")


def _read(path: Path, grey: bool, size: int) -> np.ndarray:
    """Return the pixels of a file, uint8 [C, H, W]."""
    with _open(path) as image:
        try:
            problem = _too_deep(image)  # first: once pixels are read, the decoder's arguments are gone
            upright = library("images", "PIL.ImageOps", "pillow").exif_transpose(image)
            upright = upright.convert("RGBA") if "transparency" in image.info else upright
            if upright.mode in _WITH_ALPHA and upright.getchannel("A").getextrema()[0] < 255:
                problem = problem or "is transparent somewhere, which would be lost; paste it onto a background"
            converted = upright.convert("L" if grey else "RGB")
            if size:
                converted = converted.resize((size, size), 2)  # bilinear; antialiased where it scales down
            pixels = np.asarray(converted)
        except Exception as error:
            raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if problem:
        raise ValueError(f"{path} {problem}")
    return pixels[None] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _too_deep(image: Any) -> str:
    """Say what a file has that one image of 8 bits per channel does not hold; "" for nothing."""
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a camera's JPEG with previews of it
    if frames > 1:
        return f"has {frames} pages or frames, of which one alone would be read; write each into a separate file"
    # Pixels of 16 bits ("I;16", "I", "F"), or channels that Pillow's decoder cuts to 8 bits: by raw mode, or largest value
    cut = any(_DEEP.search(str(a)) or (d in ("ppm", "ppm_plain") and a[1] > 255) for d, _, _, a in image.tile)
    if image.mode[0] in "IF" or cut:
        return f"has more than 8 bits per channel, of which {image.mode} keeps 8; scale it to 8 bits"
    return ""
