"""The reference itself: cases small enough to derive by hand, and the backward formulas of docs/model.md, in float64."""

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, reference
from firstspike.reference import SpikeTrain
from firstspike.surrogate import Surrogate, atan, rectangle, sigmoid, triangle

from .samples import SILENT, generator, spike_times

F64 = torch.float64


def column(*values: float) -> Tensor:
    """A train or current [T, 1, 1]."""
    return torch.tensor(values, dtype=F64).reshape(-1, 1, 1)


def test_fire_by_hand() -> None:
    """V = 0.5, 0.75, 1.25, 2.25: fires at 2. u = -0.5, -0.25, 0.25; triangle 0.5, 0.75, 0.75, nothing after."""
    current = column(0.5, 0.25, 0.5, 1.0).requires_grad_()
    spikes = reference.fire(current, surrogate=triangle(1.0))
    assert spikes.flatten().tolist() == [0, 0, 1, 0]
    spikes.backward(column(1, 2, 4, 8))
    # direct = 0.5, 1.5, 3, 0; the gradient of X[t] is its suffix sum
    assert current.grad.flatten().tolist() == [5.0, 4.5, 3.0, 0.0]


def test_fire_with_decay_by_hand() -> None:
    """V = 1, 1.5, 1.75 under threshold 2: silent. u = -1, -0.5, -0.25; triangle of width 2: 1/4, 3/8, 7/16."""
    current = column(1.0, 1.0, 1.0).requires_grad_()
    spikes = reference.fire(current, threshold=2.0, decay=0.5, surrogate=triangle(2.0))
    assert spikes.flatten().tolist() == [0, 0, 0]
    spikes.backward(column(4, 8, 16))
    # direct = 1, 3, 7; D[2] = 7, D[1] = 3 + 7/2, D[0] = 1 + 6.5/2
    assert current.grad.flatten().tolist() == [4.25, 6.5, 7.0]


def test_second_derivative_is_refused() -> None:
    current = column(0.5, 0.25, 0.5, 1.0).requires_grad_()
    (gradient,) = torch.autograd.grad(reference.fire(current).sum(), current, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.square().sum().backward()


def test_fires_at_the_threshold_and_only_once() -> None:
    assert reference.fire(column(1.0, -3.0, 5.0)).flatten().tolist() == [1, 0, 0]
    assert reference.fire(column(1.0 - 2**-50, 0.0)).flatten().tolist() == [0, 0]


def test_linear_by_hand() -> None:
    """Inputs at steps 0 and 2 with weights 0.5 and 0.25 and bias 0.125: V = 0.625, 0.75, 1.125, fires at 2."""
    spikes = SpikeTrain.from_times(torch.tensor([[0, 2, SILENT]], dtype=torch.uint8), 4)
    weight = torch.tensor([[0.5, 0.25, 9.0]], dtype=F64, requires_grad=True)
    bias = torch.tensor([0.125], dtype=F64, requires_grad=True)
    out = reference.linear(spikes, weight, bias, surrogate=rectangle(1.0))
    assert out.times.tolist() == [[2]]
    out.dense().backward(column(1, 2, 4, 8))
    # u = -0.375, -0.25, 0.125 lie in the rectangle: direct = 1, 2, 4, 0; D = 7, 6, 4, 0
    assert weight.grad.tolist() == [[7.0, 4.0, 0.0]]
    assert bias.grad.tolist() == [17.0]


def test_gradient_of_the_input_by_hand() -> None:
    """dL/ds[t] = sum of w direct from t on, at every step, whether the input fired there or not."""
    train = column(0, 1, 0).requires_grad_()
    weight = torch.tensor([[0.75], [-0.5]], dtype=F64)
    out = reference.linear(SpikeTrain(train), weight, surrogate=triangle(1.0))
    assert out.times.tolist() == [[SILENT, SILENT]]
    out.dense().backward(torch.tensor([[1.0, 1.0], [4.0, 2.0], [8.0, 16.0]], dtype=F64).reshape(3, 1, 2))
    # u: neuron 0: -1, -0.25, -0.25 -> 0, 3/4, 3/4; neuron 1: -1, -1.5, -1.5 -> 0
    # direct of neuron 0 = 0, 3, 6; times w = 0.75: 0, 2.25, 4.5; suffix sums
    assert train.grad.flatten().tolist() == [6.75, 6.75, 4.5]


def test_pool_then_flatten_by_hand() -> None:
    """Four neurons of a 2 x 2 window enter with a quarter each; channels come first in the flattened order."""
    times = torch.tensor([[[[0, 1], [1, SILENT]], [[2, 2], [2, 2]]]], dtype=torch.uint8)
    weight = torch.tensor([[2.0, 0.5]], dtype=F64)
    v = reference.integrate(SpikeTrain.from_times(times, 4), weight, avg_pool=2)
    assert v.flatten().tolist() == [0.5, 1.5, 2.0, 2.0]


def test_conv2d_by_hand() -> None:
    """Kernel (1, 10) over the row of times 0, 1, silent; padding 1, stride 2: windows (-, 0) and (1, silent)."""
    times = torch.tensor([[[[0, 1, SILENT]]]], dtype=torch.uint8)
    weight = torch.tensor([[[[1.0, 10.0]]]], dtype=F64)
    current = reference.conv2d_current(SpikeTrain.from_times(times, 2), weight, stride=(1, 2), padding=(0, 1))
    assert current.reshape(2, 2).tolist() == [[10.0, 0.0], [0.0, 1.0]]
    assert reference.conv2d(SpikeTrain.from_times(times, 2), weight, stride=2, padding=(0, 1)).times.tolist() == [[[[0, 1]]]]


def test_ramp_by_hand() -> None:
    """I = 0.375: V = 0.375, 0.75, 1.125 fires at 2; triangle 0.375, 0.75, 0.875; every V[t] has (t + 1) dI."""
    current = torch.tensor([[0.375]], dtype=F64, requires_grad=True)
    out = reference.ramp(current, 4, surrogate=triangle(1.0))
    assert out.times.tolist() == [[2]]
    out.dense().backward(column(8, 4, 8, 1))
    # direct = 3, 3, 7, 0; 3 + 2 * 3 + 3 * 7
    assert current.grad.item() == 30.0


def test_integrate_has_the_true_gradient() -> None:
    """No spike, no surrogate: finite differences agree."""
    g = generator(0)
    train = SpikeTrain.from_times(spike_times((2, 1, 4, 4), 5, "mixed", g), 5).dense().requires_grad_()
    weight = torch.randn(3, 4, generator=g, dtype=F64, requires_grad=True)
    bias = torch.randn(3, generator=g, dtype=F64, requires_grad=True)

    def run(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return reference.integrate(SpikeTrain(x), w, b, avg_pool=2, decay=0.8)

    assert torch.autograd.gradcheck(run, (train, weight, bias))


@pytest.mark.parametrize("surrogate", [triangle(0.5), triangle(2.0), rectangle(0.5), atan(3.0), sigmoid(2.0)], ids=str)
def test_surrogates_agree_with_the_package(surrogate: Surrogate) -> None:
    u = torch.linspace(-3, 3, 2001, dtype=F64)
    torch.testing.assert_close(reference.surrogate_derivative(u, surrogate), surrogate.derivative(u), rtol=1e-12, atol=1e-15)


def test_margin_ignores_what_comes_after_the_spike() -> None:
    current = torch.tensor([[[0.5, 0.5]], [[1.0, 0.25]], [[-0.5, 0.0]]], dtype=F64)
    # neuron 0: u = -0.5, 0.5, then 0 after its spike; neuron 1: u = -0.5, -0.25, -0.25
    assert reference.margin(current).tolist() == [[0.5, 0.25]]
    assert reference.margin(current, levels=(0.0, -0.5)).tolist() == [[0.0, 0.0]]


def test_spike_train() -> None:
    times = torch.tensor([[0, 3, SILENT], [SILENT, SILENT, 1]], dtype=torch.uint8)
    train = SpikeTrain.from_times(times, 4)
    assert train.steps == 4 and train.shape == (2, 3)
    assert torch.equal(train.times, times)
    assert train.silent.tolist() == [[False, False, True], [True, True, False]]
    assert torch.equal(SpikeTimes(times, 4).dense().double(), train.dense())


def test_decoders_by_hand() -> None:
    spikes = SpikeTrain.from_times(torch.tensor([[1, 0, 0, 3], [SILENT] * 4], dtype=torch.uint8), 4)
    assert reference.temporal_weighting(spikes, gamma=2.0).tolist() == [[0.5, 1.0, 1.0, 0.125], [0.0] * 4]
    assert reference.temporal_weighting(spikes, gamma=2.0, mode="linear").tolist() == [[1.5, 2.0, 2.0, 0.5], [0.0] * 4]
    assert reference.first_spike(spikes).tolist() == [1, 0]
    overshoot = torch.tensor([[9.0, 0.25, 0.5, 0.0], [0.0, 0.0, 1.0, 1.0]])
    assert reference.first_spike(spikes, overshoot).tolist() == [2, 2]
    assert reference.decision_step(spikes).tolist() == [0, 4]
    assert reference.ties(spikes).tolist() == [True, False]
    assert reference.population(torch.tensor([[1.0, 3.0, 5.0, 9.0]]), 2).tolist() == [[2.0, 7.0]]
    assert reference.ties(spikes, 2).tolist() == [True, False]
    assert reference.ties(SpikeTrain.from_times(torch.tensor([[1, 1, 2, 3]], dtype=torch.uint8), 4), 2).tolist() == [False]
    v = torch.tensor([[[3.0]], [[6.0]], [[9.0]]])
    assert [float(reference.decode_membrane(v, mode)) for mode in ("last", "mean", "weighted")] == [9.0, 6.0, 5.0]


def test_latency_by_hand() -> None:
    x = torch.tensor([[1.0, 0.75, 0.5, 0.1, 0.0]], dtype=F64)
    assert reference.latency(x, 5).times.tolist() == [[0, 1, 2, 4, SILENT]]
    assert reference.latency(torch.tensor([[0.5, 0.25]], dtype=F64), 2).times.tolist() == [[0, 1]]  # 0.5 goes to even
    x = torch.tensor([[1.0, 255**-0.25, 255**-0.5, 1 / 255, 1e-9, 0.0]], dtype=F64)
    assert reference.latency(x, 5, "log").times.tolist() == [[0, 1, 2, 4, 4, SILENT]]
