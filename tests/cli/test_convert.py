"""`firstspike convert`: a file becomes a folder that the other commands read, with the accuracy that was printed."""

import json

import pytest
import torch

import firstspike
from firstspike import data, models, nn

pytest.importorskip("onnx", reason="onnx is not installed")


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", train=True).images


def written(path, images, spec, *, normalize=None):
    """The file of a net of windows whose normalisation has seen the images."""
    shape = (1, 8, 8) if "C" in spec else (64,)
    net = models.build(spec, input_shape=shape, steps=7, timing="windowed", generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _ in range(20):
            net(images.view(-1, *shape))
    net.eval().normalize = normalize
    firstspike.to_onnx(net, path)


@pytest.mark.parametrize(
    ("spec", "normalize", "options"),
    [
        ("64-20-10", None, ()),  # the file takes flat images
        ("4C3-MP2-10", None, ()),
        ("4C3-MP2-10", (0.0, 255.0), ("--white", 255)),
        ("4C3-10", (0.0, 2.0), ("--std", 0.5)),
        ("4C3-10", (-0.5, 2.0), ("--mean", 0.25, "--std", 0.5)),
    ],
)
def test_a_file_becomes_a_run(call, tmp_path, digits, spec, normalize, options):
    written(tmp_path / "net.onnx", digits, spec, normalize=None if normalize is None else nn.Normalize(*normalize))
    code, out, err = call("convert", "net.onnx", "--dataset", "digits", "--json", *options)
    facts = json.loads(out)
    assert code == 0 and err == "" and facts["folder"] == "runs/net"
    assert facts["exact"] and [layer["steps"] for layer in facts["layers"]] == [7]
    assert facts["accuracy"] == pytest.approx(facts["accuracy_before"], abs=0.01)  # ties
    code, out, _ = call("eval", "runs/net", "--json")
    assert code == 0 and json.loads(out)["accuracy"] == facts["accuracy"]
    code, out, _ = call("emulate", "runs/net", "--json", "--no-progress", "--limit", 50)
    summary = json.loads(out)["summary"]
    assert code == 0 and abs(summary["accuracy"] - summary["float_accuracy"]) < 0.2


def test_images_of_a_folder(call, tmp_path, digits, pictures):
    written(tmp_path / "net.onnx", digits, "4C3-10")
    code, out, err = call("convert", "net.onnx", "--images", pictures, "--output", "there")
    assert code == 0 and "agree" in out, err
    assert call("eval", "there")[0] == 0 and call("plot", "there", "--count", 5)[0] == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "--images"),
        (("--dataset", "digits", "--images", "pictures"), "--images"),
        (("--dataset", "nothing"), "name"),
        (("--dataset", "digits", "--white", 0), "--white"),
        (("--dataset", "digits", "--std", "a"), "--std"),
        (("--dataset", "digits", "--std", 0), "std"),
        (("--dataset", "digits", "--output", "net.onnx"), "--output"),
        (("--dataset", "digits", "--output", "run"), "--output"),
    ],
)
def test_refused(call, tmp_path, digits, options, text):
    written(tmp_path / "net.onnx", digits, "64-10-10")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.json").write_text("{}")
    code, _, err = call("convert", "net.onnx", *options)
    assert code == 1 and err.startswith("error: ") and text in err and err.count("\n") == 1


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "empty"])
def test_files_that_are_no_nets(call, tmp_path, digits, damage):
    path = tmp_path / "net.onnx"
    if damage != "missing":
        written(path, digits, "64-10-10")
        whole = path.read_bytes()
        path.write_bytes({"truncated": whole[: len(whole) // 2], "text": b"hello, this is text", "empty": b""}[damage])
    code, _, err = call("convert", path, "--dataset", "digits")
    assert code == 1 and err.startswith("error: ") and "net.onnx" in err and err.count("\n") == 1
