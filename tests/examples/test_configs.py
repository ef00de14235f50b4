"""The example configs can be read, and their nets can be built."""

from pathlib import Path

import pytest

from firstspike.train import Config, build_model

EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/*.toml"))
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "spoken-digits-george": (1, 32, 64)}


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path):
    config = Config.from_toml(path)
    assert sum(p.numel() for p in build_model(config, input_shape=SHAPES[config.data]).parameters()) > 1000
