"""The pictures: what is drawn, with labels and units."""

import pandas as pd
import pytest
import torch

from firstspike import SpikeTimes, models, nn
from firstspike.inspect import Monitor

plot = pytest.importorskip("firstspike.plot", exc_type=ImportError)
svg = pytest.importorskip("firstspike.report", exc_type=ImportError).svg


def watched(readout="membrane", steps=6, outputs=4, **options):
    generator = torch.Generator().manual_seed(0)
    model = models.build(
        f"4C3-AP2-6-{outputs}", input_shape=(1, 6, 6), steps=steps, readout=readout, generator=generator, **options
    )
    with Monitor(model) as seen, torch.no_grad():
        model(torch.rand(5, 1, 6, 6, generator=generator))
    return seen


def test_a_raster_has_a_dot_for_each_spike():
    seen = watched("twd-exp")
    figure = plot.raster(seen, sample=2)
    assert len(figure.axes) == len(seen.times) == 3
    for axis, spikes in zip(figure.axes, seen.times.values(), strict=True):
        places = torch.as_tensor(axis.collections[0].get_offsets().filled())
        times = spikes.times[2].flatten()
        fired = (times != 255).nonzero().flatten()
        assert places[:, 0].long().tolist() == times[fired].tolist() and places[:, 1].long().tolist() == fired.tolist()
        assert axis.get_ylabel() == "neuron"
    assert figure.axes[-1].get_xlabel() == "time step"
    with pytest.raises(ValueError, match=r"sample must be .* got 5"):
        plot.raster(seen, sample=5)


def test_a_histogram_sums_to_all_neurons():
    seen = watched()
    figure = plot.histogram(seen)
    for axis, spikes in zip(figure.axes, seen.times.values(), strict=True):
        heights = [bar.get_height() for bar in axis.patches]
        assert len(heights) == 7 and sum(heights) == pytest.approx(100)
        assert heights[-1] == pytest.approx(100 * float(spikes.silent.double().mean()))
        assert "%" in axis.get_ylabel()
    assert [text.get_text() for text in figure.axes[-1].get_xticklabels()][-1] == "silent"


def test_the_curve_of_a_net_that_stops():
    table = pd.DataFrame({"steps": [1, 2], "accuracy": [0.5, 0.75], "energy_nj": [10.0, 20.0]})
    accuracy, energy = plot.stopping(table).axes
    assert accuracy.lines[0].get_ydata().tolist() == [50, 75] and energy.lines[0].get_ydata().tolist() == [10, 20]
    with pytest.raises(TypeError, match="table"):
        plot.stopping([1, 2])


@pytest.mark.parametrize("readout", ["membrane", "membrane-mean", "twd-exp", "first-spike"])
def test_the_membrane_picture_shows_every_output_and_the_decision(readout):
    seen = watched(readout)
    figure = plot.membrane(seen, sample=1)
    (axis,) = figure.axes
    best = int(seen.scores[1].argmax())
    assert f"class {best}" in axis.get_title(loc="left") and axis.get_xlabel() == "time step" and axis.get_ylabel()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == f"class {best}" and "other classes" in names
    decided = int(seen.decision_step[1])
    if decided < seen.steps:
        assert any(f"step {decided}" in name for name in names)
    if readout == "membrane":
        bold = next(line for line in axis.lines if line.get_label() == f"class {best}")
        membrane = list(seen.layers.values())[-1].membrane
        assert torch.equal(torch.as_tensor(bold.get_ydata()), membrane[:, 1, best])
    elif readout != "membrane-mean":
        assert "threshold" in names


def test_output_potentials_end_at_the_spike():
    seen = watched("twd-exp", population=2)
    (axis,) = plot.membrane(seen, sample=0).axes
    times = list(seen.times.values())[-1].times[0]
    assert len(times) == 8
    curves = [line for line in axis.lines if line.get_marker() == "None" and len(line.get_xdata()) > 2]
    assert all(len(line.get_xdata()) <= 6 for line in curves)
    markers = [line for line in axis.lines if line.get_marker() == "o"]
    assert sorted(int(line.get_xdata()[0]) for line in markers) == sorted(times[times != 255].tolist())


def drawn_at_the_spikes(seen):
    """The potential at each marked spike of sample 0."""
    (axis,) = plot.membrane(seen, sample=0).axes
    spikes = [float(line.get_ydata()[0]) for line in axis.lines if line.get_marker() == "o"]
    assert len(spikes) == int((~list(seen.times.values())[-1].silent[0]).sum()) > 0
    return axis, spikes


def test_potentials_with_learned_thresholds_are_in_units_of_them():
    seen = watched("twd-exp")
    plain, _ = drawn_at_the_spikes(seen)
    assert plain.get_ylabel() == "potential"
    seen = watched("twd-exp", learn_threshold=True)
    last = list(seen.layers.values())[-1].module
    with torch.no_grad():
        last.theta.fill_(0.25)
    with seen:
        seen.net(torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(1)))
    axis, spikes = drawn_at_the_spikes(seen)
    (line,) = (line for line in axis.lines if line.get_label() == "threshold")
    assert list(line.get_ydata()) == [1, 1] and min(spikes) >= 1
    assert axis.get_ylabel() == "potential / threshold"


def test_potentials_of_windows_are_sums_of_slopes():
    net = torch.nn.Sequential(nn.WindowedReadout(3, 2))
    with Monitor(net) as seen:
        net(SpikeTimes(torch.tensor([[0, 2, 255]], dtype=torch.uint8), 4))
    (axis,) = plot.membrane(seen).axes
    first, second = net[0].weight.T[:2].detach() / 4
    expected = torch.stack([first, 2 * first, 3 * first + second, 4 * first + 2 * second]).T
    lines = sorted(line.get_ydata().tolist() for line in axis.lines if len(line.get_ydata()) == 4)
    assert lines == [pytest.approx(line, abs=1e-6) for line in sorted(expected.tolist())]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_potential_behind_a_residual_block_has_its_shortcut(learned, training):
    generator = torch.Generator().manual_seed(0)
    layers = [nn.TTFSLinear(8, 8, steps=6, generator=generator, dropout=0.5 * training * i) for i in range(2)]
    if learned:
        layers[1].threshold = torch.nn.Parameter(torch.full((8,), 2.0))
    with torch.no_grad():
        layers[1].weight.zero_()  # the shortcut alone
    block = nn.Residual(layers, scale=2.5)
    net = torch.nn.Sequential(nn.TTFSLinear(4, 8, steps=6, generator=generator), block, nn.TemporalWeighting())
    net.train(training)
    times = torch.randint(0, 6, (3, 4), generator=generator, dtype=torch.uint8)
    with Monitor(net) as seen, torch.no_grad():
        net(SpikeTimes(times, 6))
    _, spikes = drawn_at_the_spikes(seen)
    assert spikes == pytest.approx([1.25 if learned else 2.5] * len(spikes)) and net.training == training


def test_weights_are_drawn_with_one_symmetric_scale():
    layer = nn.DirectConv2d(2, 5, 3, steps=4, generator=torch.Generator().manual_seed(0))
    figure = plot.weights(layer, channel=1)
    images = [axis.images[0] for axis in figure.axes if axis.images]
    weight = layer.effective_weight_and_bias()[0].detach()
    assert len(images) == 5
    assert torch.equal(torch.as_tensor(images[3].get_array().filled()), weight[3, 1])
    assert {image.get_clim() for image in images} == {(-float(weight[:, 1].abs().max()), float(weight[:, 1].abs().max()))}
    assert "current per unit of input" in figure.get_suptitle()


@pytest.mark.parametrize("most", [1, 8, 16])
def test_weights_and_their_unit_fit_into_the_picture(most):
    figure = plot.weights(nn.WindowedLinear(64, 20, steps=4), most=most)
    svg(figure)  # lays it out
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


def test_weights_of_a_fully_connected_layer_need_a_shape_unless_it_is_square():
    layer = nn.TTFSLinear(6, 3, steps=4)
    with pytest.raises(ValueError, match=r"shape must be \(height, width\) with 6 elements"):
        plot.weights(layer)
    figure = plot.weights(layer, shape=(2, 3), most=2)
    assert sum(bool(axis.images) for axis in figure.axes) == 2
    assert plot.weights(nn.TTFSLinear(9, 2, steps=4))
    with pytest.raises(TypeError, match="got Linear"):
        plot.weights(torch.nn.Linear(2, 2))
