"""Trained ReLU nets as nets of windows: `convert` reads a net of torch layer by layer, calibrates clips, and copies weights."""

from __future__ import annotations

import copy
import math
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pandas as pd
import torch
from torch import Generator, Tensor, fx, nn

from .. import nn as fs
from .._base import checks
from .._base.geometry import padding_of
from ..functional import windowed_values
from ..models import TTFSNet, as_net
from ..models.relu import ReluNet
from ..nn.image_scaling import as_float
from .brevitas import plain
from .levels import Levels
from .onnx import read
from .remedies import ROW, remedy
from .rows import in_rows

_BATCH, _ROWS = 250, 1 << 19  # images per pass; values of a layer that calibrate its clips
_SHRINK = [0.93**n for n in range(32)]  # clips that are compared, as parts of the largest value
_AVERAGES = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_CALLS: dict[str, Callable[..., nn.Module]] = {  # functions and methods of tensors, by name, as modules
    "relu": lambda inplace=False: nn.ReLU(),
    "relu_": nn.ReLU,
    "relu6": lambda inplace=False: nn.ReLU6(),
    "max_pool2d": nn.MaxPool2d,
    "avg_pool2d": nn.AvgPool2d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "dropout": lambda *_, **__: nn.Identity(),
    "contiguous": nn.Identity,
    "pad": lambda pad, mode="constant", value=0.0: (
        nn.ConstantPad2d(tuple(pad), value or 0.0) if mode == "constant" else nn.Module()
    ),
}
_ADD = ("add", "iadd", "add_")
_SHAPING = ("flatten", "view", "reshape", "squeeze")
_WAYS = (
    "Conv2d, Linear, BatchNorm, ReLU, ReLU6, pooling, Flatten, Dropout, Identity and additions are taken; scale images by "
    "firstspike.nn.Normalize, leave softmax to the loss"
)


@torch.no_grad()
def convert(module: nn.Module | str | os.PathLike[str], images: Tensor, steps: int | Sequence[int] = 16) -> TTFSNet:
    """Return the net of windows that computes a trained ReLU net, without retraining (docs/windowed.md).

    Batch normalisation is folded. The clip of each channel makes the squared error of clipping and rounding least on the
    images, behind a max pool if one follows. Then the biases are shifted, layer by layer. The shift is the difference between
    the mean values of each channel in `module` and here (bias calibration, Li et al. 2021, arXiv 2106.06984). The half step of
    rounding is in the layers.

    A quantised net is converted exactly: an activation of n bits is a window of 2^n - 1 steps with its scale as the clip, and
    nothing is calibrated. Levels are equal but at ties, which go up here and to the even level there.

    Parameters
    ----------
    module : Module, str or PathLike
        A Sequential, a `models.relu_counterpart` without residual blocks, or any net that `torch.fx` traces, of any float type;
        it is read in float32. It may have Conv2d, Linear, BatchNorm, ReLU, ReLU6, average, max and adaptive average pooling,
        padding by zeros, Flatten, Dropout, Identity, and additions with the identity or a 1x1 convolution before a ReLU. The
        last layer is a Linear or its ReLU. A `nn.Normalize` may come first. Brevitas' QuantConv2d, QuantLinear, QuantReLU and
        QuantIdentity are taken as well. A path is an ONNX file (extra `onnx`): of a float net, of a net with QuantizeLinear
        and DequantizeLinear, or of QONNX. A net for signals [B, C, N], of Conv1d, becomes one for maps of one row, [B, C, 1, N].
    images : Tensor
        Some hundred training images, of any float type, [B, ...] as `module` takes them. Pixels of 8 bits are refused, since
        nets are trained on p / 255 or on p; a `models.relu_counterpart` takes them. Images in [0, 1] enter as 255 steps, 8 bits
        exactly; others are scaled from their range to [0, 1] first. A net that quantises its images has as many steps as it has
        levels.
    steps : int or sequence of int
        T of all layers that fire, 1 to 255, or one per layer in their order; a quantised layer has its own.

    Returns
    -------
    models.TTFSNet
        Scores [B, classes] of such images, in evaluation mode. Its attribute `report` is a table: per layer the mean clip, the
        share of values above it, and the errors of clipping and rounding, root mean squares relative to the values. Its `attrs`
        are "agreement", the share of images with the same decision, "error", the error of the scores relative to them,
        "exact", True for a quantised net, and "approximated", the quantisers that only signed numbers need and no level has.

    Raises
    ------
    TypeError, ValueError
        They name an argument, or the part that cannot be converted and what to do.

    Examples
    --------
    >>> relu = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    >>> net = convert(relu, torch.rand(100, 64), steps=64)
    >>> net(torch.rand(5, 64)).shape, list(net.report.columns)
    (torch.Size([5, 10]), ['layer', 'steps', 'clip', 'clipped', 'clipping', 'rounding'])
    """
    if isinstance(module, (str, os.PathLike)):
        module = read(module)
    checks.instance("module", module, nn.Module, "a module, or the path of an ONNX file")
    module = plain(module)
    if getattr(images, "dtype", None) == torch.uint8 and not isinstance(module, ReluNet):
        raise ValueError("images must be floats, as module was trained on them: images / 255, or images.float() from 0 to 255")
    module, images = in_rows(module, as_float("images", images))
    if images.ndim not in (2, 4) or len(images) < 2:
        way = f"; {ROW}" if images.ndim == 3 else ""
        raise ValueError(f"images must be at least two, [B, N] or [B, C, H, W], got {tuple(images.shape)}{way}")
    checks.finite("images", images)
    if isinstance(module, ReluNet):
        scaling = [] if module.normalize is None else [module.normalize]
        module = nn.Sequential(*scaling, *module.layers)
    source = _Source(module, images)
    reader = _Reader(source)
    parts = reader.read()
    layers = list(_layers(parts))
    given = [steps] * len(layers) if not isinstance(steps, Sequence) else list(steps)
    if len(given) != len(layers):
        raise ValueError(f"steps must be one number, or one for each of the {len(layers)} layers, got {len(given)}")
    for layer, number in zip(layers, given, strict=True):
        if layer.levels is None and not layer.finest:
            layer.steps = checks.window(number)
    values, scores = source.values([name for layer in layers for name in (layer.node, layer.read)], images)
    for layer in layers:
        values[layer.node].clamp_(max=layer.cap)
        layer.clip = _clip(values[layer.read], layer.steps) if layer.levels is None else layer.clip
    net = as_net(nn.Sequential(*reader.encoder(), *_emit(parts, reader.scale)[0]), tuple(images.shape[1:])).eval()
    firing: list[Any] = [part for part in net.modules() if isinstance(part, fs.Synapses) and part.fires]
    exact = all(layer.levels is not None for layer in layers) and not reader.approximated
    for n, (layer, neurons) in enumerate(zip(layers, firing, strict=True)):
        if layer.levels is None:
            fired = torch.cat([source.drawn(windowed_values(net.observe(part).layers[n])) for part in images.split(_BATCH)])
            neurons.bias.data += (values[layer.node] - fired * neurons.clip).mean(0)
    if not exact:
        net.readout.get_parameter("bias").data += (scores - _scores(net, images)).mean(0)
    report = pd.DataFrame([_cost(layer, values[layer.node]) for layer in layers])
    answers = _scores(net, images)
    report.attrs = {
        "agreement": float((answers.argmax(1) == scores.argmax(1)).double().mean()),
        "error": float((answers - scores).norm() / scores.norm()),
        "exact": exact,
        "approximated": reader.approximated,
    }
    net.report = report  # type: ignore[assignment]
    return net


def _scores(net: TTFSNet, images: Tensor) -> Tensor:
    return torch.cat([net(part) for part in images.split(_BATCH)])


@dataclass(eq=False)
class _Affine:
    """A convolution or a linear layer with all that is folded into it, and the clip of the neurons that it drives."""

    name: str
    weight: Tensor
    bias: Tensor
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    avg_pool: int = 1
    node: str = ""  # with the values of its neurons
    read: str = ""  # with those that the next layer reads: the largest ones behind a max pool
    cap: float = math.inf  # of its values: 6 for ReLU6
    levels: Levels | None = None  # of a quantised net, which give steps and clip
    finest: bool = False  # as many levels as there can be, whatever `steps` says
    steps: int = 255
    clip: Tensor = field(default_factory=lambda: torch.ones(1))

    @property
    def last(self) -> _Affine:
        return self

    @property
    def units(self) -> Tensor:
        """What a spike at step 0 is worth for the next layer."""
        return self.clip if self.levels is None else self.levels.unit * self.levels.high

    def normalize(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        """Fold batch normalisation."""
        assert norm.running_mean is not None and norm.running_var is not None
        scale = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
        self.weight = self.weight * scale.view(-1, *[1] * (self.weight.dim() - 1))
        self.bias = (self.bias - norm.running_mean) * scale + (0 if norm.bias is None else norm.bias)

    def per_input(self, values: Tensor) -> Tensor:
        """Numbers of one or all input channels in the shape in which they multiply the weight."""
        if len(values) == 1:
            return values
        if self.weight.dim() == 2:
            return values.repeat_interleave(self.weight.shape[1] // len(values))
        by_group = values.view(self.groups, 1, -1).expand(-1, len(self.weight) // self.groups, -1)
        return by_group.reshape(len(self.weight), -1, 1, 1)

    def module(self, scale: Tensor) -> Any:
        """The layer for inputs in units of `scale`."""
        outputs, inputs, *kernel = self.weight.shape
        layer: Any
        shared: dict[str, Any] = {"avg_pool": self.avg_pool, "generator": Generator()}
        firing = {"steps": self.steps, "normalization": False, "clip_per_channel": len(self.clip) > 1} | shared
        moves: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "groups": self.groups}
        if not self.node:
            layer = fs.WindowedReadout(inputs, outputs, **shared)
        elif kernel:
            layer = fs.WindowedConv2d(inputs * self.groups, outputs, (kernel[0], kernel[1]), **moves, **firing)
        else:
            layer = fs.WindowedLinear(inputs, outputs, **firing)
        layer.weight.data.copy_(self.weight * self.per_input(scale))
        layer.bias.data.copy_(self.bias)
        if layer.fires:
            layer.clip.data.copy_(self.clip)
        return layer


@dataclass(eq=False)
class _Block:
    """A residual block: its layers, of which the last one fires, and a 1x1 convolution, or a factor of the identity."""

    body: list[_Part]
    shortcut: _Affine | None
    factor: Tensor

    @property
    def last(self) -> _Affine:
        return self.body[-1]  # type: ignore[return-value]

    def module(self, scale: Tensor) -> fs.Residual:
        """The block for inputs in units of `scale`."""
        body, _ = _emit(self.body, scale)
        if self.shortcut is None:
            return fs.Residual(body, scale=scale * self.factor)
        outputs, inputs = self.shortcut.weight.shape[:2]
        side = fs.WindowedShortcut(inputs, outputs, stride=self.shortcut.stride, generator=Generator())
        side.weight.data.copy_(self.shortcut.weight * self.shortcut.per_input(scale))
        return fs.Residual(body, side)


_Part = _Affine | _Block | fs.EarliestPool2d | fs.WindowedMaxPool2d


class _Source(fx.Interpreter):
    """The traced ReLU net: its values on images, and its parts in order."""

    def __init__(self, module: nn.Module, images: Tensor) -> None:
        for name, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                way = "give the module that was scripted, or export it with torch.onnx.export and give the file"
                _refuse(name or "module", "is a ScriptModule", way)
        module = copy.deepcopy(module).eval().to("cpu", torch.float32)
        try:
            super().__init__(fx.GraphModule(module, _Tracer().trace(module)))
        except (fx.proxy.TraceError, TypeError) as error:
            way = "give its parts, such as Sequential(m.features, Flatten(), m.classifier)"
            raise TypeError(f"module must be traceable by torch.fx; {way}; {_line(error)}: {error}") from error
        self.extra_traceback = False  # torch.fx would put it into the text of an error
        self.images = images
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._rows: dict[str, list[Tensor]] = {}
        try:
            self.values([], images[:2])
        except (RuntimeError, IndexError) as error:
            raise ValueError(f"images must be as module takes them, got {tuple(images.shape)}: {error}") from error

    @torch.no_grad()
    def values(self, names: Sequence[str], images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Values [S, C] of some sites of these nodes, and the scores, of the images."""
        self._rows = {name: [] for name in names}
        scores = torch.cat([self.run(part) for part in images.split(_BATCH)])
        return {name: torch.cat(rows).clamp_(min=0) for name, rows in self._rows.items()}, scores

    def drawn(self, maps: Tensor) -> Tensor:
        """Values [S, C] of some sites; drawn, as every n-th site may be the same column of all maps."""
        sites = maps.movedim(1, -1).flatten(0, -2)
        share = math.ceil(sites.numel() * len(self.images) / len(maps) / _ROWS)
        draw = torch.randperm(len(sites), generator=Generator().manual_seed(0))
        return sites[draw[: max(1, len(sites) // share)]]

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node; its shape and, where wanted, its values are kept."""
        value = super().run_node(n)
        if n.op == "output" and not isinstance(value, Tensor):
            way = (
                "return the scores alone, or give the parts that lead to them, such as Sequential(m.features, Flatten(), m.head)"
            )
            _refuse("its output", f"is a {type(value).__name__.removeprefix('immutable_')}, not one tensor", way)
        elif n.op != "placeholder" and isinstance(value, tuple | list) and any(isinstance(part, Tensor) for part in value):
            way = "a layer reads all channels: put zeros into its weight"
            _refuse(n.name, f"calls {_called(n)}, which gives several tensors", way)
        if isinstance(value, Tensor):
            if not bool(value.isfinite().all()):
                _refuse(str(n.target) if n.op == "call_module" else n.name, "gives NaN or infinity", "look at its numbers")
            self.shapes[n.name] = tuple(value.shape)
            if n.name in self._rows:
                self._rows[n.name].append(self.drawn(value))
        return value


class _Tracer(fx.Tracer):
    """Takes firstspike's modules as they are."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, fs.Normalize | Levels | nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)


@dataclass
class _State:
    """What has been read of a chain: its parts, pools of averages before the next product, and a product without a ReLU."""

    parts: list[_Part] = field(default_factory=list)
    averages: list[tuple[nn.Module, str, tuple[int, ...]]] = field(default_factory=list)  # with node and shape before
    open: _Affine | _Block | None = None
    behind: list[_Part] = field(default_factory=list)  # max pools between the product and its ReLU
    pads: tuple[int, ...] = ()  # zeros left, right, above and below, before the next product
    affine: tuple[Tensor, Tensor] | None = None  # factor and shift per channel behind a ReLU, before the next product


class _Reader:
    """Reads the graph from its output to its input, and the chain from input to output."""

    def __init__(self, source: _Source) -> None:
        self.source = source
        images = source.images
        low, high = min(float(images.min()), 0.0), float(images.max())
        unit = low == 0 and high <= 1
        self.images = None if unit else fs.Normalize(low, high - low, saturate=True)
        self.scale, self.shift = torch.tensor([1.0 if unit else high - low]), torch.tensor([low])  # x = scale u + shift
        self.border: tuple[int, int] = (0, 0)
        self.steps, self.cap = 255, math.inf  # of the input's window; a clip of the images
        self.approximated: list[str] = []  # nodes whose rounding a net of windows does not have
        self.at_input = True
        self.dominators: dict[fx.Node, fx.Node] = {}

    def encoder(self) -> list[nn.Module]:
        """What makes spikes of images."""
        fill = (-self.shift / self.scale).clamp(0, 1).tolist() if any(self.border) else [0.0]
        return [*([] if self.images is None else [self.images]), fs.WindowedEncoder(self.steps, self.border, fill)]

    def read(self) -> list[_Part]:
        """The parts of the net, the last of which is the readout."""
        every = self.source.graph.nodes
        end: Any = next(n for n in every if n.op == "output").args[0]
        nodes = [n for n in every if n.op not in ("get_attr", "output") and n.name in self.source.shapes]
        first = nodes[0]
        depth = {first: 0}
        for node in nodes[1:]:
            inputs = [n for n in node.all_input_nodes if n in depth]
            if not inputs or node.op == "placeholder":
                _refuse(node.name, "does not depend on the images", "give a net of one input")
            common = inputs[0]
            for other in inputs[1:]:
                while common is not other:
                    low, high = sorted((common, other), key=depth.__getitem__)
                    common, other = low, self.dominators[high]
            self.dominators[node], depth[node] = common, depth[common] + 1
        state = _State()
        self._chain(state, end, first)
        last = state.open
        if (
            last is None
            and state.parts
            and not (state.averages or state.pads or state.affine)
            and len(self.source.shapes[end.name]) == 2
        ):
            outputs = self.source.shapes[end.name][1]  # the net ends in a ReLU: scores are its values, in the finest levels
            state.parts[-1].last.finest = True  # type: ignore[union-attr]
            return [*state.parts, _Affine(end.name, torch.eye(outputs), torch.zeros(outputs))]
        if not isinstance(last, _Affine) or last.weight.dim() != 2 or state.behind:
            _refuse(str(end), "is not a Linear or a ReLU, which gives the scores", "end with one, without softmax")
        return [*state.parts, last]

    def _chain(self, state: _State, node: fx.Node, stop: fx.Node) -> None:
        """Read all between two nodes, in order, into the state."""
        chain_of: list[fx.Node] = []
        while node is not stop:
            chain_of.append(node)
            node = self.dominators[node]
        for node in reversed(chain_of):
            (self._add if _called(node) in _ADD else self._step)(state, node)

    def _add(self, state: _State, node: fx.Node) -> None:
        name, fork = node.name, self.dominators[node]
        way = "add the identity or one 1x1 Conv2d (with BatchNorm2d) to a product before its ReLU"
        read = [n for n in node.all_input_nodes if n in self.dominators or n is fork]
        if len(read) != 2 or len(node.args) != 2 or node.kwargs:
            _refuse(name, "does not add two tensors", way)
        self._settle(state, name)
        if state.open is not None or state.affine is not None or (self.at_input and bool(self.shift.any())):
            _refuse(name, f"adds {fork.name}, which is not the output of a ReLU", "put a ReLU before the block")
        at_input, branches = self.at_input, []
        for end in read:
            branch, self.at_input = _State(), at_input
            self._chain(branch, end, fork)
            branches.append(branch)
        branch, body = sorted(branches, key=_size)
        parts_of_side = branch.parts or branch.averages or branch.behind or branch.pads
        if not isinstance(body.open, _Affine) or body.behind or parts_of_side or (branch.affine and bool(branch.affine[1].any())):
            _refuse(name, "is not the end of a residual block", way)
        shortcut = branch.open
        if shortcut is not None:
            plain = isinstance(shortcut, _Affine) and shortcut.weight.shape[2:] == (1, 1) and shortcut.avg_pool == 1
            if not isinstance(shortcut, _Affine) or not plain or any(shortcut.padding) or shortcut.groups != 1:
                _refuse(name, "has a shortcut of another kind", way)
            body.open.bias = body.open.bias + shortcut.bias
        factor = torch.ones(1) if branch.affine is None else branch.affine[0]
        state.open, self.at_input = _Block([*body.parts, body.open], shortcut, factor), False

    def _step(self, state: _State, node: fx.Node) -> None:
        module, name = self._module(node)
        shape = self.source.shapes[node.all_input_nodes[0].name]
        if isinstance(module, (nn.Identity, nn.Dropout, nn.Dropout2d)):
            return
        if isinstance(module, Levels):
            self._levels(state, module, name, node)
        elif isinstance(module, nn.ConstantPad2d):  # of which ZeroPad2d is one
            if state.open is not None or state.averages or module.value != 0:
                _refuse(name, "pads by another number than 0, or before a pool or ReLU", "pad right before a convolution")
            state.pads = tuple(module.padding)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            self._product(state, module, name, shape)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            self._normalization(state, module, name)
        elif isinstance(module, (nn.ReLU, nn.Hardtanh)):  # of which ReLU6 is one
            self._rectify(state, module, name, node)
        elif isinstance(module, nn.MaxPool2d):
            self._maximum(state, module, name, node, shape)
        elif isinstance(module, _AVERAGES):
            if state.open is not None:
                way = "put it behind the ReLU, and a last 1x1 convolution behind it, as a Linear"
                _refuse(name, "averages values before a ReLU", way)
            state.averages.append((module, node.name, shape))
        elif isinstance(module, fs.Normalize) and self.at_input and not state.parts and not state.averages:
            self.shift = (self.shift - module.mean) / module.std
            self.scale = self.scale / module.std
        elif isinstance(module, fs.Normalize) and state.open is None and state.affine is None and not state.pads:
            state.affine = 1 / module.std, -module.mean / module.std
        else:
            kind = type(module).__name__
            _refuse(name, f"is a {kind}", remedy(kind, _WAYS))

    def _rectify(self, state: _State, module: nn.ReLU | nn.Hardtanh, name: str, node: fx.Node) -> None:
        cap = getattr(module, "max_val", math.inf)
        if getattr(module, "min_val", 0) != 0:
            _refuse(name, f"clips at {module.min_val}", "clip at 0, as a ReLU does")
        if state.open is not None:
            self._close(state, node).cap = cap
        elif self.at_input and cap == math.inf:
            _refuse(name, "is applied to the images", "leave it out")
        elif self.at_input:
            self.cap = cap

    def _maximum(self, state: _State, module: nn.MaxPool2d, name: str, node: fx.Node, shape: tuple[int, ...]) -> None:
        self._settle(state, name)
        if state.pads or (state.affine is not None and bool((state.affine[0] < 0).any())):
            _refuse(name, "follows a padding, or a batch normalisation with a negative factor", "put it before them")
        pool = _max_pool(module, name, shape)
        if state.open is None:
            if state.parts and isinstance(state.parts[-1], _Affine | _Block):
                state.parts[-1].last.read = node.name
            state.parts.append(pool)
        else:
            if not state.behind:
                state.open.last.node = node.all_input_nodes[0].name  # before the ReLU: its positive values
            state.behind.append(pool)

    def _close(self, state: _State, node: fx.Node) -> _Affine:
        """End the open product with a ReLU, and return the layer that fires."""
        assert state.open is not None
        last = state.open.last
        last.node, last.read = last.node if state.behind else node.name, node.name
        state.parts += [state.open, *state.behind]
        state.open, state.behind = None, []
        return last

    def _levels(self, state: _State, module: Levels, name: str, node: fx.Node) -> None:
        """The rounding of a quantised net: of its images, of the layer before it, or one that only a signed number needs."""
        if self.at_input and state.open is None and not state.parts and not state.averages:
            self._input_levels(module, name)
            return
        if module.low < 0:
            self.approximated.append(name)
            return
        if state.open is not None:
            self._close(state, node)
        elif state.averages:
            self._settle(state, name)
        fired = [part for part in state.parts if isinstance(part, _Affine | _Block)]
        if not fired or state.affine is not None or not 1 <= module.high <= checks.MAX_WINDOW:
            _refuse(name, f"rounds to {module.high + 1} levels, or not the output of a ReLU", "use 1 to 8 bits behind a ReLU")
        last = fired[-1].last
        if last.levels is not None and not (last.levels.high == module.high and torch.equal(last.levels.unit, module.scale)):
            _refuse(name, f"rounds what {last.name} has rounded to other levels", "use one quantiser")
        if last.levels is None:
            last.levels = self._within(module, last.cap, name)
        last.steps, last.clip = last.levels.high, last.levels.scale * last.levels.high

    def _within(self, module: Levels, cap: float, name: str) -> Levels:
        """The levels that a clip at `cap` leaves."""
        top = float((cap / module.scale).max())
        if top >= module.high:
            return module
        if float((cap / module.scale - round(top)).abs().max()) > 1e-3:
            self.approximated.append(name)
        return Levels(module.scale, module.low, max(round(top), 1), module.unit)

    def _input_levels(self, module: Levels, name: str) -> None:
        module = self._within(module, self.cap, name)
        steps = module.high - module.low
        if not 1 <= steps <= checks.MAX_WINDOW:
            _refuse(name, f"rounds the images to {steps + 1} levels", "use at most 8 bits")
        width, begin = (1.0, 0.0) if self.images is None else (self.images.std, self.images.mean)
        std = width / self.scale
        mean = begin - self.shift * std  # a number x of the images enters the net as (x - mean) / std
        low, span = (mean + module.low * module.scale * std), steps * module.scale * std
        plain = bool((low == 0).all()) and bool((span == 1).all())
        self.images = None if plain else fs.Normalize(low.tolist(), span.tolist(), saturate=True)
        self.scale, self.shift, self.steps = steps * module.unit, module.low * module.unit, steps

    def _normalization(self, state: _State, norm: nn.BatchNorm1d | nn.BatchNorm2d, name: str) -> None:
        """Batch normalisation goes into the product before it, or behind a ReLU into the one after it."""
        if norm.running_mean is None or norm.running_var is None:
            _refuse(name, "has no running statistics", "train with track_running_stats=True")
        if isinstance(state.open, _Affine) and not state.behind:
            state.open.normalize(norm)
            return
        if state.open is not None or self.at_input or state.affine is not None or state.pads:
            _refuse(name, "follows neither a Conv2d or Linear nor their ReLU", "put it right behind one")
        factor = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
        state.affine = factor.detach(), ((0 if norm.bias is None else norm.bias) - norm.running_mean * factor).detach()

    def _module(self, node: fx.Node) -> tuple[nn.Module, str]:
        """The part of a node as a module, and its name in the net."""
        if node.op == "call_module":
            return self._flat(node, self.source.submodules[str(node.target)]), str(node.target)
        called = _called(node)
        if called == "mean" and _maps_mean(node):
            return nn.AdaptiveAvgPool2d(1), node.name
        if called in _SHAPING:
            return self._flat(node, nn.Flatten(), squeezes=called == "squeeze"), node.name
        if called not in _CALLS:
            _refuse(node.name, f"calls {called}", remedy(called, _WAYS))
        known = {k: v for k, v in node.kwargs.items() if k not in ("input", "training")}
        return _CALLS[called](*node.args[1:], **known), node.name

    def _flat(self, node: fx.Node, module: nn.Module, squeezes: bool = False) -> nn.Module:
        """Identity for a Flatten of all but the samples, and on the way to it; linear layers take maps."""
        if not isinstance(module, nn.Flatten):
            return module
        before, after = (self.source.shapes[n.name] for n in (node.all_input_nodes[0], node))
        flat = after in (before, (before[0], math.prod(before[1:])))
        return nn.Identity() if flat or (squeezes and after[0] == before[0]) else module

    def _product(self, state: _State, module: nn.Conv2d | nn.Linear, name: str, shape: tuple[int, ...]) -> None:
        if state.open is not None:
            _refuse(name, f"follows {state.open.last.name} without a ReLU between", "put one between, or merge the two")
        bias = torch.zeros(len(module.weight)) if module.bias is None else module.bias.detach()
        affine = _Affine(name, module.weight.detach(), bias)
        if isinstance(module, nn.Conv2d):
            if module.dilation != (1, 1) or module.padding_mode != "zeros":
                _refuse(name, "is dilated, or pads by other values than zeros", "train it with dilation 1 and zeros")
            affine.stride, affine.groups = (module.stride[0], module.stride[1]), module.groups
            padding = 0 if module.padding == "valid" else module.padding
            affine.padding = padding_of(padding, _pair(module.kernel_size), affine.stride)
            if state.pads:
                _pad(affine, state.pads)
        elif len(shape) != 2:
            _refuse(name, f"is applied to each row of {shape}", "put a Flatten before it")
        elif state.pads:
            _refuse(name, "follows a padding", "pad before a convolution")
        if state.affine is not None:
            factor, constant = state.affine
            if any(affine.padding) and bool(constant.any()):
                _refuse(name, "pads the output of a batch normalisation", "put the batch normalisation before its ReLU")
            affine.bias = affine.bias + (affine.weight * affine.per_input(constant)).flatten(1).sum(1)
            affine.weight = affine.weight * affine.per_input(factor)
        factors = [_factor(pool, before) for pool, _, before in state.averages]
        if all(factors):
            affine.avg_pool = math.prod(factors)
        elif isinstance(module, nn.Linear):
            affine.weight = _unpooled(affine.weight, state.averages)
        else:
            self._settle(state, name)
        if self.at_input:
            self._fold_shift(affine, bool(state.parts), name)
        state.averages, state.open, state.pads, state.affine, self.at_input = [], affine, (), None, False

    def _fold_shift(self, affine: _Affine, pooled: bool, name: str) -> None:
        """The images' shift goes to the bias; borders are then of the pixel that was 0 before it."""
        if not bool(self.shift.any()):
            return
        affine.bias = affine.bias + (affine.weight * affine.per_input(self.shift)).flatten(1).sum(1)
        if any(affine.padding):
            if pooled or affine.avg_pool > 1 or any(self.border):
                _refuse(name, "pads normalised images after pooling", "convert a net for images in [0, 1]")
            self.border, affine.padding = affine.padding, (0, 0)

    def _settle(self, state: _State, name: str) -> None:
        """Averages that are not before a product become depthwise layers, which round to levels."""
        for pool, node, shape in state.averages:
            factor = _factor(pool, shape)
            windowed = isinstance(pool, nn.AvgPool2d) and not (pool.ceil_mode or pool.divisor_override)
            if self.at_input or not (factor or (windowed and (pool.count_include_pad or not any(_pair(pool.padding))))):
                _refuse(node, f"is an average before {name} that no layer computes", "use AvgPool2d with stride = kernel")
            kernel, stride, padding = (factor, factor), (factor, factor), (0, 0)
            if not factor:
                kernel, stride, padding = (_pair(x) for x in (pool.kernel_size, pool.stride, pool.padding))
            weight = torch.full((shape[1], 1, *kernel), 1 / math.prod(kernel))
            state.parts.append(_Affine(node, weight, torch.zeros(shape[1]), stride, padding, shape[1], node=node, read=node))
        state.averages = []


def _pad(affine: _Affine, pads: tuple[int, ...]) -> None:
    """Add zeros left, right, above and below: where two sides differ, the kernel gets zeros on the side with fewer."""
    left, right, top, bottom = pads
    (rows, columns), (height, width) = affine.padding, (max(top, bottom), max(left, right))
    affine.padding = rows + height, columns + width
    affine.weight = nn.functional.pad(affine.weight, (width - left, width - right, height - top, height - bottom))


def _size(branch: _State) -> tuple[int, int]:
    """What makes a branch the body of a block: the number of its layers, then its last kernel."""
    kernel = 0 if branch.open is None else branch.open.last.weight[0].numel()
    return len(branch.parts) + (branch.open is not None), kernel


def _layers(parts: Sequence[_Part]) -> Iterator[_Affine]:
    """The layers that fire, in order."""
    for part in parts:
        if isinstance(part, _Block):
            yield from _layers(part.body)
        elif isinstance(part, _Affine) and part.node:
            yield part


def _emit(parts: Sequence[_Part], scale: Tensor) -> tuple[list[nn.Module], Tensor]:
    """The modules of parts for spikes whose values are in units of `scale`, and the units of what they give."""
    modules: list[nn.Module] = []
    for part in parts:
        modules.append(part.module(scale) if isinstance(part, _Affine | _Block) else part)
        scale = part.last.units if isinstance(part, _Affine | _Block) else scale
    return modules, scale


def _clip(values: Tensor, steps: int) -> Tensor:
    """Clips [C] of values [S, C] whose levels are closest to them; of all channels for one that is silent on the images."""
    largest = values.amax(0)
    largest = torch.where(largest > 0, largest, largest.amax().clamp(min=1e-6))
    errors = [_error(values, _rounded(values, largest * part, steps)) for part in _SHRINK]
    return largest * torch.tensor(_SHRINK)[torch.stack(errors).argmin(0)]


def _rounded(values: Tensor, clip: Tensor, steps: int) -> Tensor:
    return (values * (steps / clip)).add_(0.5).floor_().clamp_(0, steps).mul_(clip / steps)


def _error(values: Tensor, other: Tensor) -> Tensor:
    return (other - values).square_().sum(0)


def _cost(layer: _Affine, values: Tensor) -> dict[str, Any]:
    """A row of the report."""
    clipped = values.minimum(layer.clip)
    power = float(values.square().sum()) or 1.0
    return {
        "layer": layer.name,
        "steps": layer.steps,
        "clip": float(layer.clip.mean()),
        "clipped": float((values > layer.clip).double().mean()),
        "clipping": math.sqrt(float(_error(values, clipped).sum()) / power),
        "rounding": math.sqrt(float(_error(clipped, _rounded(clipped, layer.clip, layer.steps)).sum()) / power),
    }


def _factor(pool: nn.Module, shape: tuple[int, ...]) -> int:
    """k of an average over windows of k x k without overlap; 0 for another one."""
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        size = [n if out is None else int(out) for n, out in zip(shape[2:], _pair(pool.output_size), strict=True)]
        kernel = shape[2] // size[0], shape[3] // size[1]
        return kernel[0] if kernel[0] == kernel[1] and shape[2:] == (size[0] * kernel[0], size[1] * kernel[0]) else 0
    assert isinstance(pool, nn.AvgPool2d)
    kernel, padding = _pair(pool.kernel_size), _pair(pool.padding)
    plain = kernel[0] == kernel[1] and _pair(pool.stride) == kernel and not any(padding) and not pool.divisor_override
    return kernel[0] if plain and not (pool.ceil_mode and any(n % kernel[0] for n in shape[2:])) else 0


def _unpooled(weight: Tensor, averages: Sequence[tuple[nn.Module, str, tuple[int, ...]]]) -> Tensor:
    """The weight [O, N'] on maps that gives what `weight` [O, N] gives on their averages."""
    with torch.enable_grad():
        maps = torch.zeros(len(weight), *averages[0][2][1:], requires_grad=True)
        pooled: Tensor = maps
        for pool, *_ in averages:
            pooled = pool(pooled)
        (gradient,) = torch.autograd.grad((pooled.flatten(1) * weight).sum(), maps)
    return gradient.flatten(1)


def _max_pool(pool: nn.MaxPool2d, name: str, shape: tuple[int, ...]) -> fs.EarliestPool2d | fs.WindowedMaxPool2d:
    kernel, stride, padding = (_pair(x) for x in (pool.kernel_size, pool.stride, pool.padding))
    ragged = any((n + 2 * p - k) % s for n, p, k, s in zip(shape[2:], padding, kernel, stride, strict=True))
    if _pair(pool.dilation) != (1, 1) or (pool.ceil_mode and ragged):
        _refuse(name, "is dilated, or rounds sizes up", "use a MaxPool2d without dilation and ceil_mode")
    if kernel[0] == kernel[1] and stride == kernel and not any(padding):
        return fs.EarliestPool2d(kernel[0])
    return fs.WindowedMaxPool2d(kernel, stride, padding)


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def _called(node: fx.Node) -> str:
    """The name of a function or method that a node calls; "" for a module."""
    if node.op == "call_module":
        return ""
    return node.target if isinstance(node.target, str) else str(getattr(node.target, "__name__", node.target))


def _maps_mean(node: fx.Node) -> bool:
    """Whether a mean is over height and width."""
    dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    return isinstance(dims, (tuple, list)) and sorted(int(d) % 4 for d in dims) == [2, 3]


def _line(error: Exception) -> str:
    """The line of the net at which tracing stopped."""
    torch_folder = os.path.dirname(torch.__file__)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((torch_folder, __file__))]
    return f"line {frames[-1].lineno} of {frames[-1].filename} ({frames[-1].line})" if frames else "it stopped"


def _refuse(name: str, what: str, way: str) -> NoReturn:
    raise ValueError(f"module cannot be converted: {name} {what}; {way}")
