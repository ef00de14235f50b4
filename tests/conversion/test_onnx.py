"""ONNX files in: exports of torch, nets that ONNX Runtime quantised, and files that are no nets."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import firstspike
from firstspike.conversion.onnx import read

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
X = torch.rand(20, 1, 12, 12, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A residual block, uneven padding, groups, a mean over maps, and scaled images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.third = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, groups=2)
        self.last = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first((x - 0.3) / 0.4)))
        x = F.max_pool2d(F.relu(self.second(x) + x), 2)
        return self.last(F.relu(self.third(F.pad(x, (0, 1, 0, 1)))).mean((2, 3)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Tensor]]:
    """The file of a net with drawn weights, and its scores."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
        net(X)
        path = tmp_path_factory.mktemp("onnx") / "net.onnx"
        names: dict[str, Any] = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(net.eval(), (X[:1],), str(path), dynamo=False, **names)
        yield path, net(X).detach()


def test_a_float_net(exported: tuple[Path, Tensor]) -> None:
    path, scores = exported
    torch.testing.assert_close(read(path)(X), scores, rtol=1e-4, atol=1e-5)
    net = firstspike.convert(path, X, 255)
    assert (net(X) - scores).norm() < 0.02 * scores.norm() and not net.report.attrs["exact"]


@pytest.mark.parametrize("signed", [False, True])
def test_a_net_with_quantize_and_dequantize(exported: tuple[Path, Tensor], tmp_path: Path, signed: bool) -> None:
    """Each module computes what ONNX Runtime does; residual sums have no levels, so the converted net is near."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        samples = iter([{"x": x[None].numpy()} for x in X])

        def get_next(self) -> Any:
            return next(self.samples, None)

    path, kind = tmp_path / "int8.onnx", QuantType.QInt8 if signed else QuantType.QUInt8
    quantize_static(
        str(exported[0]), str(path), Reader(), quant_format=QuantFormat.QDQ, activation_type=kind, weight_type=QuantType.QInt8
    )
    (scores,) = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": X.numpy()})
    torch.testing.assert_close(read(path)(X), torch.from_numpy(scores), rtol=0.02, atol=0.02)
    net = firstspike.convert(path, X, 255)
    assert (net(X) - torch.from_numpy(scores)).norm() < 0.05 * np.linalg.norm(scores)


def model(*nodes: Any, constants: dict[str, Any] | None = None, shape: tuple[int, ...] = (1, 4)) -> Any:
    """A model of nodes from "x" to "y"."""
    from onnx import TensorProto, helper, numpy_helper

    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", None))]
    graph = helper.make_graph([*nodes], "net", ends[:1], ends[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(kind: str, *inputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs or ("x",), ["y"], **attributes)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (lambda: model(node("Sigmoid")), "Sigmoid"),
        (lambda: model(node("Pad", "x", "p"), constants={"p": np.array([0, 0, 1, 1])}), "pads other axes"),
        (lambda: model(node("MatMul", "x", "x")), "computed from the images"),
        (lambda: model(node("DequantizeLinear", "x", "s"), constants={"s": np.float32(1)}), "does not follow"),
        (
            lambda: model(
                node("Conv", "x", "w", auto_pad="SAME_UPPER", strides=[2, 2]), constants={"w": np.ones((1, 1, 3, 3), "f")}
            ),
            "export explicit pads",
        ),
        (lambda: model(node("Expand", "x", "s"), constants={"s": np.array([1 << 40, 4])}), "Expand"),
        (lambda: model(*[onnx.helper.make_node("Relu", ["x"], [f"y{n}"]) for n in range(70_000)]), "at most"),
    ],
    ids=["operator", "padding", "product", "levels", "same", "large", "nodes"],
)
def test_nets_that_are_refused(tmp_path: Path, bad: Any, text: str) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(bad().SerializeToString())
    with pytest.raises(ValueError, match=text):
        read(path)


def test_damaged_files_and_weights_elsewhere(exported: tuple[Path, Tensor], tmp_path: Path) -> None:
    raw, path = exported[0].read_bytes(), tmp_path / "bad.onnx"
    for end in (0, 1, len(raw) // 3, len(raw) // 2, len(raw) - 7):
        path.write_bytes(raw[:end])
        with pytest.raises(ValueError, match="bad.onnx"):
            read(path)
    elsewhere = tmp_path / "secret"
    elsewhere.write_bytes(bytes(4096))
    for constant in (False, True):
        proto = onnx.load_model_from_string(raw)
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=str(elsewhere))
        if constant:
            proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], [tensor.name], value=tensor))
            del proto.graph.initializer[0]
        path.write_bytes(proto.SerializeToString())
        with pytest.raises(ValueError, match="another file"):
            read(path)


def test_weights_in_a_file_beside(exported: tuple[Path, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "beside.onnx"
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(onnx.load(exported[0]), str(path), **options)
    torch.testing.assert_close(read(path)(X), read(exported[0])(X))
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere")
    (tmp_path / "weights.bin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="same folder"):
        read(path)


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_a_net_for_signals(tmp_path: Path, dynamo: bool) -> None:
    if dynamo:
        pytest.importorskip("onnxscript", reason="torch's exporter needs onnxscript")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 6, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip
    x = torch.randn(50, 2, 40)
    torch.onnx.export(net, (x[:1],), str(tmp_path / "net.onnx"), dynamo=dynamo)
    scores = firstspike.convert(tmp_path / "net.onnx", x, 255)(x.unsqueeze(2))
    assert (scores - net(x)).norm() < 0.02 * net(x).norm()


@settings(max_examples=80)
@given(data=st.data())
def test_files_that_were_changed_give_one_error_that_names_them(exported: tuple[Path, Tensor], data: st.DataObject) -> None:
    proto = onnx.load_model_from_string(exported[0].read_bytes())
    node = data.draw(st.sampled_from(range(len(proto.graph.node))))
    node, kind = proto.graph.node[node], data.draw(st.sampled_from(["input", "fewer", "operator", "attribute", "shape", "bytes"]))
    if kind == "input" and node.input:
        node.input[0] = data.draw(st.sampled_from(["", "nowhere", "x", node.output[0]]))
    elif kind == "fewer":
        del node.input[-1:]
    elif kind == "operator":
        node.op_type = data.draw(st.sampled_from(["Conv", "Gemm", "Quant", "QuantizeLinear", "Clip", "Pad", "If", "Slice"]))
    elif kind == "attribute" and node.attribute:
        node.attribute[0].i, node.attribute[0].ints[:] = -1, [1 << 40]
    elif kind == "shape":
        proto.graph.initializer[0].dims[0] = data.draw(st.sampled_from([-1, 0, 1 << 50]))
    raw = bytearray(proto.SerializeToString())
    if kind == "bytes":
        for place in data.draw(st.lists(st.integers(0, min(2000, len(raw) - 1)), min_size=1, max_size=4)):
            raw[place] ^= 0x55
    path = exported[0].with_name("changed.onnx")
    path.write_bytes(raw)
    try:
        read(path)
    except ValueError as error:
        assert "changed.onnx" in str(error)
