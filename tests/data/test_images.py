"""Folders of images: classes by name, sizes and modes that differ, parts that are missing, files that are none."""

import io
import os
import struct
import subprocess
import zlib

import pytest
import torch
from PIL import Image

from firstspike import data


def save(path, size=(6, 4), colour=100, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def folder(tmp_path):
    for part, count in (("train", 5), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for index in range(count):
                save(tmp_path / part / name / f"{index}.png", colour=100 * label + index)
    return tmp_path


def test_parts_classes_and_pixels(folder):
    train, test = data.load_images(folder, train=True), data.load_images(str(folder), train=False)
    assert train.images.shape == (10, 1, 4, 6) and test.images.shape == (4, 1, 4, 6)
    assert train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]
    assert train.labels.tolist() == [0] * 5 + [1] * 5 and test.labels.tolist() == [0, 0, 1, 1]
    assert (train.name, train.classes, train.source) == ("images", 2, f"folder {folder / 'train'}")
    again = data.reload(train.recipe, train=True)
    assert again.fingerprint() == train.fingerprint() != test.fingerprint()


def test_colour_where_one_training_image_has_it(folder):
    save(folder / "train" / "dog" / "9.png", colour=(1, 2, 3), mode="RGB")
    train, test = (data.load_images(folder, train=part) for part in (True, False))
    assert train.images.shape == (11, 3, 4, 6) and test.images.shape == (4, 3, 4, 6)
    assert train.images[-1, :, 0, 0].tolist() == [1, 2, 3]
    assert test.images[-1, :, 0, 0].tolist() == [101] * 3


def test_a_share_of_train_is_held_out_and_said(folder, capsys):
    for path in sorted((folder / "test").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (folder / "test").rmdir()
    train, test = (data.load_images(folder, train=part) for part in (True, False))
    assert "20% of the images of each class are held out as the test set" in capsys.readouterr().err
    assert len(train) == 8 and len(test) == 2 and test.labels.tolist() == [0, 1]
    values = torch.cat([train.images, test.images])[:, 0, 0, 0].tolist()
    assert sorted(values) == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]
    assert data.reload(test.recipe, train=False).fingerprint() == test.fingerprint()


def test_sizes_that_differ(folder):
    save(folder / "train" / "dog" / "9.png", size=(7, 4))
    with pytest.raises(ValueError, match=r"9\.png.*image_size"):
        data.load_images(folder, train=True)
    assert data.load_images(folder, train=True, size=5).images.shape == (11, 1, 5, 5)


def png_of_16_bits():
    """An RGB image, which Pillow cannot write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head, rows = struct.pack(">IIBBBBB", 6, 4, 16, 2, 0, 0, 0), 4 * (b"\0" + 18 * b"\1\2")
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def cut_noise():
    """A PNG without its end."""
    raw = io.BytesIO()
    Image.effect_noise((6, 4), 50).save(raw, "PNG")
    return raw.getvalue()[:-25]


def drawn(mode, kind, colour=300, **options):
    raw = io.BytesIO()
    Image.new(mode, (6, 4), colour).save(raw, kind, **options)
    return raw.getvalue()


def pages(kind):
    return drawn("L", kind, 9, save_all=True, append_images=[Image.new("L", (6, 4), 50)])


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n(/tmp/x) (w) file closefile showpage\n%%EOF\n"
BAD = {
    "text.png": b"no image", "empty.png": b"", "head.png": b"\x89PNG\r\n\x1a\n" + bytes(40), "cut.png": cut_noise(),
    "script.png": POSTSCRIPT, "animation.png": drawn("L", "GIF", 9),
    "deep.png": drawn("I;16", "PNG"), "int.tif": drawn("I", "TIFF"), "float.tif": drawn("F", "TIFF"),
    "cut16.png": png_of_16_bits(), "cut16.ppm": b"P6 6 4 1000\n" + 72 * b"\1\2",
    "clear.png": drawn("RGBA", "PNG", (9, 9, 9, 0)), "grey.png": drawn("LA", "PNG", (9, 254)),
    "palette.png": drawn("P", "PNG", 0, transparency=0),
    "pages.tif": pages("TIFF"), "pages.png": pages("PNG"), "pages.webp": pages("WEBP"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_no_image_or_would_lose_something(folder, monkeypatch, name):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("Ghostscript is started"))
    (folder / "train" / "cat" / name).write_bytes(BAD[name])
    with pytest.raises(ValueError, match=name):
        data.load_images(folder, train=True)


def test_a_named_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "train" / "cat" / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png"):
        data.load_images(folder, train=True)


def test_a_bomb(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(ValueError, match="cannot be read as an image"):
        data.load_images(folder, train=True)


@pytest.mark.parametrize("part", [True, False])
def test_other_classes_than_those_of_the_recipe(folder, part):
    recipe = data.load_images(folder, train=part).recipe
    for each in ("train", "test"):
        (folder / each / "dog").rename(folder / each / "ape")
    with pytest.raises(ValueError, match="must have the classes of the recorded data"):
        data.reload(recipe, train=part)
    assert data.reload({**recipe, "classes": None}, train=part).classes == 2


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (3, 5)), (6, (0, 3)), (8, (5, 0))])
def test_images_are_turned_upright(tmp_path, orientation, corner):
    """0, 180, 270 and 90 degrees, as viewers do; the pixel in the upper left of the file ends elsewhere."""
    image, exif = Image.new("L", (6, 4)), Image.Exif()
    image.putpixel((0, 0), 255)
    exif[0x0112] = orientation
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        image.save(tmp_path / "train" / name / "x.png", exif=exif)
    (tmp_path / "test").mkdir()
    found = data.load_images(tmp_path, train=True).images[0, 0]
    assert tuple(found.nonzero()[0].tolist()) == corner and (orientation in (6, 8)) == (found.shape == (6, 4))


def test_linked_folders_are_followed_and_loops_and_hidden_files_are_not(folder):
    save(folder / "elsewhere" / "deep" / "z.png", colour=77)
    (folder / "train" / "cat" / "more").symlink_to(folder / "elsewhere", target_is_directory=True)
    (folder / "elsewhere" / "again").symlink_to(folder / "elsewhere", target_is_directory=True)
    (folder / "train" / "dog" / "up").symlink_to(folder / "train" / "dog", target_is_directory=True)
    for hidden in ("._0.png", ".ipynb_checkpoints/0-checkpoint.png"):
        save(folder / "train" / "cat" / hidden)
    train = data.load_images(folder, train=True)
    assert train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 77, 100, 101, 102, 103, 104]
