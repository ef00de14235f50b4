"""Pictures of sounds, and the loader of spoken digits on a few recordings from a local mirror."""

import hashlib
import io
import os
import wave
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstspike import data
from firstspike.data import speech

RATES = st.sampled_from([8000, 16000, 44100])


def tone(frequency, rate, seconds=1.0):
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


@given(rate=RATES, frequency=st.floats(200, 3500))
def test_the_loudest_band_is_that_of_the_tone(rate, frequency):
    bands = 20
    picture = data.spectrogram(tone(frequency, rate), rate=rate, bands=bands, frames=30)
    mel = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + rate / 1400), bands + 2)[1:-1]
    own = np.abs(mel - 2595 * np.log10(1 + frequency / 700)).argmin()
    assert picture.dtype == np.uint8 and picture.shape == (bands, 30)
    assert abs(int(picture[:, 5].argmax()) - own) <= 1  # at low tones a band is narrower than a frequency of the transform


@given(rate=RATES, loudness=st.floats(1e-3, 1e3))
def test_loudness_changes_nothing_and_behind_the_end_there_are_zeros(rate, loudness):
    sound = tone(500, rate, seconds=0.2)
    picture = data.spectrogram(sound, rate=rate)
    assert np.abs(picture.astype(int) - data.spectrogram(loudness * sound, rate=rate)).max() <= 1
    assert picture.max() == 255 and not picture[:, 13:].any()


@pytest.mark.parametrize("sound", [[], [[1.0]], [1.0, np.nan]])
def test_what_is_no_recording_is_refused(sound):
    with pytest.raises(ValueError, match="samples"):
        data.spectrogram(sound, rate=8000)


def test_a_rate_that_no_recorder_has_is_refused_before_memory_is_taken():
    with pytest.raises(ValueError, match="rate"):
        data.spectrogram([1.0], rate=1e9)


def test_silence_is_black():
    assert not data.spectrogram(np.zeros(100), rate=8000).any()


def recording(digit, seconds=0.3):
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((1e4 * tone(300 + 200 * digit, 8000, seconds=seconds)).astype("<i2").tobytes())
    return content.getvalue()


def test_spoken_digits_are_fetched_once_checked_and_split(monkeypatch, mirror):
    seconds = {"george": 0.2, "theo": 0.3}
    files = {
        f"{digit}_{name}_{i}.wav": recording(digit, seconds[name])
        for digit in range(10)
        for name in seconds
        for i in (0, 4, 5, 49)
    }
    with zipfile.ZipFile(mirror.folder / "all.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"repository-1/recordings/{name}", content)
    monkeypatch.setattr(speech, "URL", f"{mirror.url}all.zip")
    with pytest.raises(data.NotAvailable, match="not the 3,000"):
        data.load("spoken-digits", train=True)
    monkeypatch.setattr(speech, "SHA256", hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest())
    train, test = data.load("spoken-digits", train=True), data.load("spoken-digits", train=False, download=False)
    assert train.input_shape == (1, 32, 64) and len(train) == len(test) == 40
    assert train.labels.tolist() == test.labels.tolist() == sorted(4 * list(range(10)))
    assert (train.images == test.images).all()  # these recordings are the same
    for speaker in seconds:
        others, own = (data.load(f"spoken-digits-{speaker}", train=part, download=False) for part in (True, False))
        assert len(others) == len(own) == 40
        longest = {"george": own, "theo": others}[speaker].images.sum((0, 1, 2))
        assert longest[13:].sum() == 0  # george's recordings are the shorter ones


@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_only_regular_files_of_some_size_are_read(tmp_path, kind):
    folder, outside = tmp_path / "recordings", tmp_path / "large"
    folder.mkdir()
    outside.write_bytes(bytes(speech.LARGEST + 1))
    if kind == "pipe":
        os.mkfifo(folder / "x.wav")
    else:
        (folder / "x.wav").symlink_to("/dev/zero" if kind == "device" else outside)
    with pytest.raises(data.NotAvailable, match="the bound is" if kind == "large" else "not a regular file"):
        data.load("spoken-digits", train=True, root=tmp_path, download=False)
