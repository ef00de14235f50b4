"""`torch.library.opcheck` of every operator of ours, on the very calls that the functions make for the tests' samples.

A mode records each call of a `firstspike::` operator, forward and backward, with its arguments; each is then checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from firstspike import SpikeTimes, encode, functional, nn
from firstspike.ops import _support
from firstspike.surrogate import atan, rectangle, sigmoid, triangle

from ..samples import Layer, generator, layer


class Recorder(TorchFunctionMode):
    """Keeps the operator and the arguments of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict]] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Record, then call."""
        kwargs = kwargs or {}
        overload = getattr(func, "default", func)
        if getattr(overload, "namespace", None) == "firstspike":
            self.calls.append((overload, *tree_map(leaf, (args, kwargs))))
        return func(*args, **kwargs)


class BackwardRecorder(TorchDispatchMode):
    """Keeps the calls that autograd makes, which the other mode does not see."""

    def __init__(self, calls: list[tuple[Any, tuple, dict]]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Record, then call."""
        if func.namespace == "firstspike" and not torch.is_grad_enabled():
            self.calls.append((func, *tree_map(leaf, (args, kwargs or {}))))
        return func(*args, **(kwargs or {}))


def leaf(x: Any) -> Any:
    """A tensor of the same values, strides and `requires_grad`, without its history."""
    if not isinstance(x, Tensor):
        return x
    made = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype).copy_(x.detach()) if 0 not in x.stride() else x.detach()
    return made.requires_grad_(x.requires_grad and torch.is_grad_enabled())


def train(case: Layer) -> SpikeTimes:
    """The sample's spikes, made from a dense train that wants a gradient."""
    return SpikeTimes.from_dense(SpikeTimes(case.times, case.steps).dense().requires_grad_())


def backward(x: Tensor) -> None:
    """Send a gradient that is not constant."""
    x.backward(torch.randn(x.shape, generator=generator(9), dtype=torch.float32))


def run_layer(function: Callable[..., SpikeTimes], case: Layer, **options: Any) -> None:
    """One layer fed by a train, and one fed by another fused layer."""
    w = case.weight.clone().requires_grad_()
    b = None if case.bias is None else case.bias.clone().requires_grad_()
    backward(function(train(case), w, b, **case.options, **options).dense())
    hidden = functional.ramp(
        torch.rand(case.times.shape, generator=generator(8), dtype=torch.float32).requires_grad_(), case.steps, **options
    )
    backward(function(hidden, w, b, **case.options, **options).dense())
    with torch.no_grad():
        function(hidden, w, b, **case.options, **options)


def run_integrate(case: Layer) -> None:
    """The readout."""
    backward(functional.integrate(train(case), case.weight.clone().requires_grad_(), case.bias.clone().requires_grad_()))
    functional.integrate(SpikeTimes(case.times, case.steps), case.weight)


def run_fire(surrogate: Any, **options: Any) -> None:
    """The dense neuron."""
    backward(
        functional.fire(
            torch.randn(5, 2, 3, 4, generator=generator(0), dtype=torch.float32).requires_grad_(), surrogate=surrogate, **options
        )
    )


def run_ramp(surrogate: Any) -> None:
    """Direct coding of a map, sent on through a view."""
    current = torch.rand(2, 3, 2, 5, generator=generator(0), dtype=torch.float32).requires_grad_()
    backward(functional.ramp(current, 6, surrogate=surrogate).flatten(1).dense())


def run_direct() -> None:
    """Data of one channel and of several, with and without a bias, with a gradient for the data and without."""
    for channels, bias, wanted in ((1, True, False), (3, False, True)):
        layer = nn.DirectConv2d(channels, 5, 3, steps=4, stride=(2, 1), padding=1, bias=bias)
        x = torch.rand(2, channels, 6, 5, generator=generator(0), dtype=torch.float32).requires_grad_(wanted)
        backward(layer(x).dense())


def run_shortcut() -> None:
    """Into a strided convolution, whose input is larger than the map that the shortcut brings; from a larger map; dense."""
    case = layer((2, 3, 6, 6), (5, 3, 3, 3), 8)
    small = SpikeTimes.from_dense(torch.zeros(8, 2, 3, 3, 3, dtype=torch.float32).requires_grad_())
    current = torch.rand(2, 4, 6, 6, generator=generator(1), dtype=torch.float32).requires_grad_()
    scale = torch.ones(4, dtype=torch.float32).requires_grad_()
    options: dict[str, Any] = {"stride": 2, "padding": 1}
    for weight in (case.weight, case.weight.clone().requires_grad_()):
        large = functional.ramp(current, 8)
        for shortcut, more in (
            (small, {}),
            (small, {"surrogate": atan()}),
            (large, {"shortcut_scale": scale}),
            (large.detach(), {"shortcut_scale": scale[:1].detach()}),
        ):
            backward(functional.conv2d(train(case), weight, shortcut=shortcut, **options, **more).dense())
    with torch.no_grad():
        functional.conv2d(train(case), case.weight, shortcut=large, **options)


def run_dropout() -> None:
    """Spikes of a fused layer, of a dense train, and such as want no gradient."""
    case = layer((3, 13), (19, 13), 8)
    seed = torch.tensor([5])
    hidden = functional.ramp(torch.rand(3, 13, generator=generator(0), dtype=torch.float32).requires_grad_(), 8)
    for spikes in (hidden, train(case)):
        backward(functional.dropout(spikes, 0.4, seed=seed).dense())
    functional.dropout(SpikeTimes(case.times, case.steps), 0.4, seed=seed)


def run_pools() -> None:
    """Spikes of a fused layer, of a dense train, and such as want no gradient; the windows do not fill the map."""
    current = torch.rand(2, 3, 5, 4, generator=generator(0), dtype=torch.float32).requires_grad_()
    for pool in (nn.MaxPool2d(2), nn.EarliestPool2d(2)):
        hidden = functional.ramp(current, 8)
        dense = SpikeTimes.from_dense(hidden.dense().detach().requires_grad_())
        pool(hidden.detach())
        backward(pool(dense).dense())
        backward(pool(hidden).dense())


def run_latency() -> None:
    """Both curves, on a map."""
    for curve in encode.CURVES:
        encode.latency(torch.rand(2, 3, 4, 5, generator=generator(0), dtype=torch.float32), 8, curve)


def run_normalize() -> None:
    """With a factor for each output, with one for all, and without; normalised as a whole and per output."""
    for gamma in (
        None,
        torch.rand(1, generator=generator(1), dtype=torch.float32),
        torch.rand(5, generator=generator(1), dtype=torch.float32),
    ):
        weight = torch.randn(5, 3, 2, generator=generator(0), dtype=torch.float32).requires_grad_()
        gamma = gamma if gamma is None else gamma.requires_grad_()
        for granularity in ("layer", "channel"):
            backward(functional.normalize_weight(weight, 0.5, gamma, granularity=granularity))


def run_windows() -> None:
    """Layers of windows: encoded data, normalised and not, pooled, of maps and flat, in training and evaluation."""
    net = torch.nn.Sequential(
        nn.WindowedEncoder(),
        nn.WindowedConv2d(2, 5, 3, padding=1, steps=4),
        nn.EarliestPool2d(2),
        nn.WindowedConv2d(5, 5, 2, groups=5, avg_pool=2, steps=7, normalization=False, clip_per_channel=True),
        nn.WindowedReadout(5, 3),
    )
    for _ in range(2):
        x = torch.rand(3, 2, 9, 8, generator=generator(0), dtype=torch.float32).requires_grad_()
        backward(net(x) + functional.windowed_values(net[1](net[0](x)), avg_pool=2).sum())
        net.eval()
    with torch.no_grad():
        net(x)


def run_windows_under_autocast() -> None:
    """Products in bfloat16: in a layer, and of a readout with a bias."""
    layers = nn.WindowedConv2d(2, 5, 3, padding=1, steps=4), nn.WindowedReadout(5 * 3 * 2, 3, avg_pool=2)
    net = torch.nn.Sequential(nn.WindowedEncoder(4), *layers)
    with torch.autocast("cpu", torch.bfloat16):
        scores = net(torch.rand(3, 2, 6, 4, generator=generator(0), dtype=torch.float32).requires_grad_())
    backward(scores)


SAMPLES: dict[str, Callable[[], None]] = {
    "linear": lambda: run_layer(functional.linear, layer((3, 13), (19, 13), 8)),
    "linear, atan": lambda: run_layer(functional.linear, layer((3, 13), (19, 13), 8), surrogate=atan()),
    "linear, no sample": lambda: run_layer(functional.linear, layer((0, 13), (19, 13), 8)),
    "linear, pooled map": lambda: run_layer(
        functional.linear, layer((2, 3, 4, 5), (7, 12), 64, avg_pool=2, bias=False), surrogate=rectangle(0.5)
    ),
    "conv2d": lambda: run_layer(functional.conv2d, layer((2, 3, 6, 5), (17, 3, 3, 3), 8, padding=1, stride=2)),
    "conv2d, pooled and leaky": lambda: run_layer(
        functional.conv2d, layer((2, 3, 6, 8), (5, 3, 3, 3), 8, avg_pool=2, decay=0.75, synaptic_decay=0.5)
    ),
    "integrate": lambda: run_integrate(layer((3, 13), (19, 13), 8)),
    "integrate, no sample": lambda: run_integrate(layer((0, 13), (19, 13), 8)),
    "ramp": lambda: run_ramp(triangle()),
    "ramp, sigmoid": lambda: run_ramp(sigmoid()),
    "direct": run_direct,
    "shortcut": run_shortcut,
    "dropout": run_dropout,
    "pools": run_pools,
    "latency": run_latency,
    "windows": run_windows,
    "windows under autocast": run_windows_under_autocast,
    "normalize": run_normalize,
    "fire": lambda: run_fire(triangle(), decay=0.5),
    "fire, sigmoid": lambda: run_fire(sigmoid()),
}


def record(run: Callable[[], None]) -> Iterator[tuple[Any, tuple, dict]]:
    """Calls of a sample, one for each operator and set of argument shapes."""
    with Recorder() as recorder, BackwardRecorder(recorder.calls):
        run()
    seen = set()
    for op, args, kwargs in recorder.calls:
        key = str(tree_map(lambda x: (x.dtype, x.shape, x.requires_grad) if isinstance(x, Tensor) else x, (op, args, kwargs)))
        if key not in seen:
            seen.add(key)
            yield op, args, kwargs


@pytest.mark.parametrize("name", SAMPLES)
def test_opcheck(name: str) -> None:
    calls = list(record(SAMPLES[name]))
    assert calls
    for op, args, kwargs in calls:
        torch.library.opcheck(op, args, kwargs)


def test_every_operator_is_covered() -> None:
    """The samples call each operator that the package registers."""
    registered = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("firstspike::")}
    called = {op.name() for run in SAMPLES.values() for op, _, _ in record(run)}
    assert registered and {name.split(".")[0] for name in called} == registered


def test_without_torchs_own_allocation_of_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch has no `allocate_size`, sizes that depend on the data are asked for by its public function."""
    monkeypatch.setattr(_support, "fake_impl", None)
    for op, args, kwargs in record(SAMPLES["ramp"]):
        torch.library.opcheck(op, args, kwargs, test_utils="test_faketensor")


@pytest.mark.parametrize("name", SAMPLES)
def test_torchs_default_dtype_changes_no_bit(name: str) -> None:
    for op, args, kwargs in record(SAMPLES[name]):
        expected = [x for x in tree_leaves(op(*args, **kwargs)) if isinstance(x, Tensor)]
        torch.set_default_dtype(torch.float64)
        try:
            got = [x for x in tree_leaves(op(*args, **kwargs)) if isinstance(x, Tensor)]
        finally:
            torch.set_default_dtype(torch.float32)
        assert [x.dtype for x in got] == [x.dtype for x in expected], op
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True)), op
