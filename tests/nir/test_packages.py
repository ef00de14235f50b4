"""Exchange with SpikingJelly and snnTorch, whose neurons are made to fire once by a hook; skipped without them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Sequential

from firstspike import data, models

pytest.importorskip("nir")
pytest.importorskip("nirtorch")
pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly.activation_based")
import snntorch as snn
from snntorch.export_nir import export_to_nir as from_snntorch
from snntorch.import_nir import import_from_nir as into_snntorch
from spikingjelly.activation_based import layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir as from_spikingjelly
from spikingjelly.activation_based.nir_exchange import import_from_nir as into_spikingjelly

from firstspike.nir import from_nir, to_nir

from .test_exchange import spikes

STEPS = 8
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of the other packages
    pytest.mark.filterwarnings("ignore::firstspike.nir.exchange.FiresOnce"),
]


class Once:
    """A forward hook of a neuron module that lets only the first spike of each neuron pass, and notes its time."""

    def __init__(self, module):
        self.times, self.step = None, 0
        module.register_forward_hook(self)

    def __call__(self, module, inputs, output):
        spikes = output[0] if isinstance(output, tuple) else output
        if self.times is None:
            self.times = torch.full(spikes.shape, 255, dtype=torch.uint8)
        new = (spikes > 0) & (self.times == 255)
        self.times[new] = self.step
        self.step += 1
        return (new.float(), *output[1:]) if isinstance(output, tuple) else new.float()


def seeded(module, seed=0):
    """The module with weights of its own seed, so large that its neurons fire."""
    torch.manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.25)
    return module.eval()


def jelly(conv=False, node=lambda: neuron.IFNode(v_reset=0.0)):
    """A net like the one of SpikingJelly's page on NIR, as a graph; `conv`: its pool stands before the neurons."""
    maps = [node(), layer.AvgPool2d(2, 2)]
    first = layer.Conv2d(2, 4, 3, padding=1), *(reversed(maps) if conv else maps), layer.Flatten()
    theirs = seeded(Sequential(*first, layer.Linear(64, 10), node()))
    return theirs, from_spikingjelly(theirs, torch.zeros(1, 2, 8, 8)), (2, 8, 8)


def torch_net(kind=snn.Leaky, **decays):
    """A net like those of snnTorch's tests, as a graph."""

    def node(n):
        vectors = {name: value * torch.ones(n) for name, value in decays.items()}
        return kind(**vectors, threshold=torch.ones(n), init_hidden=True)

    theirs = seeded(Sequential(torch.nn.Linear(30, 20), node(20), torch.nn.Linear(20, 5), node(5)))
    return theirs, from_snntorch(theirs, torch.zeros(30)), (30,)


class Pooled(torch.nn.Module):
    """A convolution whose pool and flattening stand before its neurons, as in snnTorch's tests."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.flatten = torch.nn.Conv2d(2, 4, 3), torch.nn.AvgPool2d(2, 2), torch.nn.Flatten()
        self.neurons = snn.Leaky(beta=0.5 * torch.ones(36), threshold=torch.ones(36), init_hidden=True)

    def forward(self, x):
        return self.neurons(self.flatten(self.pool(self.conv(x))))


def pooled():
    theirs = seeded(Pooled())
    return theirs, from_snntorch(theirs, torch.zeros(1, 2, 8, 8), ignore_dims=[0]), (2, 8, 8)


THEIRS = [
    jelly,
    lambda: jelly(conv=True),
    lambda: jelly(node=lambda: neuron.LIFNode(tau=2.0, decay_input=False, v_reset=0.0)),
    lambda: jelly(node=lambda: neuron.LIFNode(tau=2.0, v_threshold=0.5, v_reset=0.0)),
    lambda: jelly(node=lambda: neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_reset=0.0)),
    lambda: torch_net(beta=1.0),
    lambda: torch_net(beta=0.5),
    lambda: torch_net(snn.Synaptic, alpha=0.5, beta=0.75),
    pooled,
]


@pytest.mark.parametrize("make", THEIRS)
def test_their_net_gives_the_same_spikes(make):
    theirs, graph, shape = make()
    ours, x = from_nir(graph, STEPS), spikes(200, *shape, steps=STEPS)
    kinds = neuron.BaseNode, snn.Leaky, snn.Synaptic
    hooks = [Once(module) for module in theirs.modules() if isinstance(module, kinds)]
    with torch.no_grad():
        for part in x.dense():
            theirs(part)
        for hook, part in zip(hooks, ours, strict=True):
            x = part(x)
            assert (hook.times < 255).any() and torch.equal(hook.times.reshape(x.times.shape), x.times)


def our_net(spec="30-20-10-5", input_shape=(30,), encoder="spikes", **options):
    draw = torch.Generator().manual_seed(5)
    model = models.build(spec, input_shape=input_shape, steps=STEPS, encoder=encoder, generator=draw, **options).eval()
    with torch.no_grad():
        for part in model.modules():
            if getattr(part, "bias", None) is not None:
                part.bias.normal_(0, 0.1, generator=draw)
    if input_shape == (30,):
        model.layers[0].threshold = torch.linspace(0.6, 1.4, 20)  # per neuron, which both packages refuse: it is folded
    return model


OURS = {
    "flat": our_net,
    "first spike": lambda: our_net(readout="first-spike"),
    "leak": lambda: our_net(decay=0.75, readout="membrane-mean"),
    "ramp": lambda: our_net(synaptic_decay=1.0),
    "current": lambda: our_net(synaptic_decay=0.5, decay=0.75),
    "maps": lambda: our_net("4C3-AP2-6C3x1s2-8-5", (2, 8, 8)),
    "block": lambda: our_net("4C3-R(6C3s2-6C3)-AP2-5", (2, 8, 8), decay=0.75),
    "default": lambda: our_net(encoder="direct"),
    "default maps": lambda: our_net("8C3-AP2-8C3-AP2-16-5", (1, 8, 8), encoder="direct"),
    **{name: lambda name=name: models.load_pretrained(name) for name in models.shipped.names() if "windowed" not in name},
}


@pytest.mark.parametrize("load", [into_spikingjelly, into_snntorch])
@pytest.mark.parametrize("name", OURS)
def test_our_net_loads_and_gives_the_same_spikes_and_decisions(name, load):
    """Sums in another order round differently: a threshold may be missed by one neuron in a million."""
    model = OURS[name]()
    direct = isinstance(model.encoder, torch.nn.Identity)
    x = torch.rand(50, *model.input_shape) if direct else spikes(1000, *model.input_shape, steps=model.steps)
    if name.startswith("digits"):
        x = data.load("digits", train=False).images[:200] / 255
    theirs, state, outputs = load(to_nir(model)).eval(), None, []
    hooks = [Once(m) for m in theirs.modules() if type(m).__name__ in ("_NIRStatefulModule", "Leaky", "Synaptic")]
    with torch.no_grad():
        for part in [x] * model.steps if direct else x.dense():
            output, state = theirs(part, state)
            outputs.append(output)
        expected = model.observe(x)
    for hook, layer_ in zip(hooks, expected.layers, strict=True):
        differ = (hook.times.reshape(layer_.times.shape) != layer_.times).sum()
        assert (layer_.times < 255).any() and differ <= 2e-6 * layer_.times.numel(), differ
    if expected.membrane is not None:  # the graph ends with the last synapses: their output is integrated here
        last = model.layers[-1]
        current = v = torch.zeros_like(outputs[0])
        for t, output in enumerate(outputs):
            current = last.synaptic_decay * current + output
            v = last.decay * v + current
            torch.testing.assert_close(v, expected.membrane[t], rtol=1e-5, atol=2e-5)


def test_snntorch_and_nodes_of_integrate_and_fire():
    with pytest.raises(AssertionError, match="r != 1"):
        into_snntorch(to_nir(our_net(), integrate_and_fire="IF"))
    into_spikingjelly(to_nir(our_net(), integrate_and_fire="IF"))
