"""Spoken digits: recordings as pictures of their spectrum over time, one byte per band and frame."""

from __future__ import annotations

import hashlib
import tempfile
import wave
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .._base import checks
from .._base.files import read_bytes
from .dataset import Dataset
from .sources import download_file, find

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"  # its recordings are those of version 1.0.10
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
SHA256 = "ddb17656a0bca4c5ddace082be188ca630516dc2ef1110afe3c4e9cc71173de4"  # of all recordings, one behind the other
FOLDERS = ("spoken-digits", "free-spoken-digit-dataset", "")
LARGEST = 1 << 20  # bytes of a recording; the longest has 37 kB
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TESTED = 5  # recordings 0 to 4 of each speaker and digit are for test
LOWEST = 60.0  # Hz, the lower end of the lowest band
RANGE = 60.0  # decibels from the loudest value of a recording down to 0


def spectrogram(samples: ArrayLike, *, rate: float, bands: int = 32, frames: int = 64) -> NDArray[np.uint8]:
    """Return a picture of a recording: the energy in mel bands over time, in decibels.

    Frames last 32 ms and begin every 16 ms; each is weighted by a Hann window. Bands are triangles of equal width in mel,
    from 60 Hz to half of the rate. The loudest value becomes 255, and one that is 60 dB lower becomes 0.

    Parameters
    ----------
    samples : sound pressure over time, [S], in any unit; one channel.
    rate : samples per second, 1,000 to 1,000,000.
    bands : rows, from low to high, at least 1.
    frames : columns, at least 1. A longer recording is cut; behind the end of a shorter one there are zeros.

    Returns
    -------
    uint8 array [bands, frames]; all zero for silence.

    Raises
    ------
    ValueError : for other shapes, and for samples that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    >>> picture = data.spectrogram(tone, rate=8000)
    >>> picture.shape, int(picture[:, 10].argmax())
    ((32, 64), 14)
    """
    sound = np.asarray(samples, dtype=np.float64)
    if sound.ndim != 1 or not len(sound) or not np.isfinite(sound).all():
        raise ValueError(f"samples must be a list [S] of at least one finite number, got shape {sound.shape}")
    rate = checks.real("rate", rate, 1e3, 1e6)
    bands, frames = checks.integer("bands", bands, 1, 4096), checks.integer("frames", frames, 1, 65_536)
    length, hop = round(0.032 * rate), round(0.016 * rate)
    needed = (frames - 1) * hop + length
    padded = np.pad(sound[:needed], (0, max(0, needed - len(sound))))
    cut = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
    power = np.abs(np.fft.rfft(cut * np.hanning(length))) ** 2
    energy = power @ _filters(rate, length, bands)
    if not energy.max():
        return np.zeros((bands, frames), np.uint8)
    with np.errstate(divide="ignore"):
        level = 10 * np.log10(energy.T / energy.max())
    picture: NDArray[np.uint8] = np.rint(np.clip(1 + level / RANGE, 0, 1) * 255).astype(np.uint8)
    return picture


@cache
def _filters(rate: float, length: int, bands: int) -> NDArray[np.float64]:
    """The share [frequencies, bands] of each band in the power at each frequency.

    Mel by O'Shaughnessy 1987: 2595 log10(1 + f / 700 Hz).
    """
    mel = np.linspace(2595 * np.log10(1 + LOWEST / 700), 2595 * np.log10(1 + rate / 1400), bands + 2)
    low, centre, high = (edges[:, None] for edges in np.lib.stride_tricks.sliding_window_view(mel, bands))
    at = 2595 * np.log10(1 + np.fft.rfftfreq(length, 1 / rate)[None] / 700)
    shares: NDArray[np.float64] = np.maximum(0, np.minimum((at - low) / (centre - low), (high - at) / (high - centre)))
    return shares.T


def spoken_digits(name: str, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of the Free Spoken Digit Dataset (six speakers, CC BY-SA 4.0): images [N, 1, 32, 64].

    Recordings 0 to 4 of each speaker and digit are for test (300), the others for training (2,700), as its authors say.
    With a speaker at the end of the name, all 500 recordings of this speaker are for test and those of the others for training.
    """
    left_out = name.removeprefix("spoken-digits").lstrip("-")
    by_hand = f"To put it in place by hand, unpack {URL}\ninto DIR."
    recordings, source = find("spoken-digits", _read, lambda folder, _: _fetch(folder), root, FOLDERS, download, by_hand)
    chosen = []
    for file, sound in recordings:
        _, speaker, number = file.stem.split("_")
        if train != (speaker == left_out if left_out else int(number) < TESTED):
            chosen.append((file, sound))
    images = np.stack([spectrogram(sound, rate=8000) for _, sound in chosen])[:, None]
    labels = torch.tensor([int(file.name[0]) for file, _ in chosen])
    return Dataset(torch.from_numpy(images), labels, 10, name, source)


def _read(folder: Path) -> list[tuple[Path, NDArray[np.int16]]]:
    """Each file with its samples. Raises ValueError where the recordings are not the known ones."""
    files = sorted(folder.glob("*/recordings/*.wav")) or sorted(folder.glob("recordings/*.wav"))
    if not files:
        raise FileNotFoundError("no recordings/*.wav")
    digest = hashlib.sha256()
    for file in files:
        digest.update(read_bytes(file, limit=LARGEST))
    if digest.hexdigest() != SHA256:
        raise ValueError(f"{len(files)} recordings that are not the 3,000 of version 1.0.10")
    recordings = []
    for file in files:
        with wave.open(str(file)) as sound:
            recordings.append((file, np.frombuffer(sound.readframes(sound.getnframes()), "<i2")))
    return recordings


def _fetch(folder: Path) -> None:
    """Download the archive and unpack it; `_read` checks the recordings."""
    import pooch

    with tempfile.TemporaryDirectory(prefix="firstspike-") as temporary:
        download_file(URL, Path(temporary) / "archive.zip", None, pooch.Unzip(extract_dir=str(folder.absolute())))
