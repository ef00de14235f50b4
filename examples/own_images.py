"""Train on a folder of images: python examples/own_images.py DIR, with DIR/train/CLASS/*.png and DIR/test/CLASS/*.png.

Without DIR, a small folder of striped images is made first. The command line does the same:

    firstspike train CONFIG.toml --images DIR
"""

import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

from firstspike import data, train


def make_images(folder: Path) -> None:
    """Noisy 16 x 16 images with stripes across or along."""
    draw = torch.Generator().manual_seed(0)
    for part, count in (("train", 100), ("test", 20)):
        for name in ("across", "along"):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = torch.randint(0, 120, (16, 16), generator=draw, dtype=torch.uint8)
                (pixels if name == "across" else pixels.T)[index % 4 :: 4] += 120
                Image.fromarray(pixels.numpy()).save(folder / part / name / f"{index}.png")


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
if len(sys.argv) == 1:
    make_images(folder)
images = data.load_images(folder, train=True)
config = train.Config(spec=f"16C3-AP2-32-{images.classes}", steps=8, epochs=5, batch=20, lr=5e-3)
result = train.fit(config, images=folder, directory=folder / "run")
print(f"test accuracy {result.test.accuracy:.1%}")

net = train.load_model(folder / "run")  # as result.model
(first,) = train.predict(net, images.images[:1])
print(f"the first image is of class {images.recipe['classes'][int(first)]}")
