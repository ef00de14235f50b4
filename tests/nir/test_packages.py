"""Exchange with the real packages: SpikingJelly and snnTorch, whose neurons are made to fire once by a hook.

Run by `nox -s exchange`; skipped where the packages are not installed.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import Sequential

from firstspike import models

pytest.importorskip("nir")
pytest.importorskip("nirtorch")
from firstspike.nir import from_nir, to_nir  # needs nir

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


def same_spikes(theirs, ours, x, kinds):
    """Run their net step by step and our chain of layers, and compare the spikes of every layer."""
    hooks = [Once(module) for module in theirs if isinstance(module, kinds)]
    with torch.no_grad():
        for part in x.dense():
            theirs(part)
        for hook, layer in zip(hooks, ours, strict=True):
            x = layer(x)
            assert (hook.times < 255).any() and torch.equal(hook.times, x.times)


@pytest.mark.parametrize("kind", ["IF", "LIF"])
def test_a_net_of_spikingjelly_gives_the_same_spikes(kind):
    jelly = pytest.importorskip("spikingjelly.activation_based")
    from spikingjelly.activation_based import layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    del jelly

    def node():
        return neuron.IFNode(v_reset=0.0) if kind == "IF" else neuron.LIFNode(tau=2.0, decay_input=False, v_reset=0.0)

    first = layer.Conv2d(2, 4, 3, padding=1), node(), layer.AvgPool2d(2, 2), layer.Flatten()
    theirs = seeded(Sequential(*first, layer.Linear(64, 10), node()))
    ours = from_nir(export_to_nir(theirs, torch.zeros(1, 2, 8, 8)), STEPS)
    same_spikes(theirs, ours, spikes(200, 2, 8, 8, steps=STEPS), (neuron.IFNode, neuron.LIFNode))


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_a_net_of_snntorch_gives_the_same_spikes(beta):
    snn = pytest.importorskip("snntorch")
    from snntorch.export_nir import export_to_nir

    theirs = seeded(
        Sequential(
            torch.nn.Linear(30, 20),
            snn.Leaky(beta=beta * torch.ones(20), threshold=torch.ones(20), init_hidden=True),
            torch.nn.Linear(20, 5),
            snn.Leaky(beta=beta * torch.ones(5), threshold=torch.ones(5), init_hidden=True),
        )
    )
    ours = from_nir(export_to_nir(theirs, torch.zeros(30)), STEPS)
    same_spikes(theirs, ours, spikes(200, 30, steps=STEPS), snn.Leaky)


def our_net(spec="30-20-5", input_shape=(30,), **options):
    draw = torch.Generator().manual_seed(5)
    model = models.build(
        spec, input_shape=input_shape, steps=STEPS, encoder="spikes", readout="first-spike", generator=draw, **options
    ).eval()
    if input_shape == (30,):
        model.layers[0].threshold = torch.linspace(0.6, 1.4, 20)  # per neuron, which both packages refuse: it is folded
    return model


OUR_NETS = [{}, {"decay": 0.75}, {"spec": "4C3-AP2-5", "input_shape": (2, 8, 8)}]


@pytest.mark.parametrize("options", OUR_NETS)
def test_our_net_loads_in_spikingjelly(options):
    pytest.importorskip("spikingjelly.activation_based")
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    model = our_net(**options)
    check(model, import_from_nir(to_nir(model)), "_NIRStatefulModule")


@pytest.mark.parametrize("options", OUR_NETS)
def test_our_net_loads_in_snntorch(options):
    pytest.importorskip("snntorch")
    from snntorch.import_nir import import_from_nir

    model = our_net(**options)
    check(model, import_from_nir(to_nir(model, integrate_and_fire="LIF")), "Leaky")


def check(model, theirs, kind):
    """First spikes of our net and of theirs, whose neurons are modules of that kind, are equal."""
    x, theirs, state = spikes(1000, *model.input_shape, steps=STEPS), theirs.eval(), None
    hooks = [Once(module) for module in theirs.modules() if type(module).__name__ == kind]
    with torch.no_grad():
        for part in x.dense():
            _, state = theirs(part, state)
        expected = model.observe(x).layers
    for hook, spikes_ in zip(hooks, expected, strict=True):
        differ = (hook.times.reshape(spikes_.times.shape) != spikes_.times).sum()
        assert (spikes_.times < 255).any() and differ == 0, differ
