"""Networks on nengo-loihi's emulator. Runs in an environment of its own (nengo 4.1.0, nengo-loihi 1.1.0, numpy < 2),
without firstspike.

    python nengo_networks.py random COUNT OUT.npz    random two-layer networks: parameters, V and spikes of every step
    python nengo_networks.py speed IN.npz OUT.npz    spikes and seconds of each sample of a given network

Settings under which the arithmetic is that of the profile loihi-like: raw int32 blocks, decay_u 4095 (the current
lasts one step), decay_v 0, a threshold mantissa << 6, membranes clipped to +-(2^23 - 1), even weights << 6, a
refractory period beyond the run.
"""

import itertools
import sys
import time

import numpy as np
from nengo_loihi.block import Axon, LoihiBlock, Synapse
from nengo_loihi.builder import Model
from nengo_loihi.emulator import EmulatorInterface
from nengo_loihi.inputs import SpikeInput

LIMIT = 2**23 - 1


def build(weights, thetas, biases):
    """A chain of blocks; weights[l] is [sources, neurons] in chip units, not yet shifted."""
    model = Model()
    inputs = SpikeInput(weights[0].shape[0])
    model.add_input(inputs)
    source = inputs
    for weight, theta, bias in zip(weights, thetas, biases, strict=True):
        sources, neurons = weight.shape
        block = LoihiBlock(neurons)
        compartment = block.compartment
        for name, value in (("decay_u", 4095), ("decay_v", 0), ("vth", theta * 64), ("bias", bias * 64)):
            setattr(compartment, name, np.broadcast_to(np.asarray(value), neurons).astype(np.int32))
        compartment.refract_delay = np.full(neurons, 10000, np.int32)
        compartment.vmin, compartment.vmax = -LIMIT, LIMIT
        compartment.scale_u = compartment.scale_v = False
        compartment.noise_exp = np.zeros(neurons, np.int32)
        compartment.enable_noise = np.zeros(neurons, bool)
        synapse = Synapse(sources)
        synapse.weights = [(row * 64).astype(np.int32)[None, :] for row in weight]
        synapse.indices = [np.arange(neurons, dtype=np.int32)[None, :] for _ in weight]
        block.add_synapse(synapse)
        axon = Axon(sources)
        axon.target = synapse
        axon.compartment_map = np.arange(sources)
        source.add_axon(axon)
        model.add_block(block)
        source = block
    return model, inputs


def emulate(weights, thetas, biases, times, steps):
    """(V int64 [steps, neurons], spikes bool [steps, neurons]), the layers' neurons one after the other."""
    model, inputs = build(weights, thetas, biases)
    for t in range(steps):
        inputs.add_spikes(t + 1, np.flatnonzero(times == t))
    emulator = EmulatorInterface(model, seed=0)
    v, spikes = [], []
    for _ in range(steps):
        emulator.step()
        v.append(emulator.compartment.voltage.astype(np.int64))
        spikes.append(emulator.compartment.spiked.copy())
    return np.array(v), np.array(spikes)


def random_network(rng):
    """Even weights whose sums stay below 2^15 in any step; thresholds that some neurons reach and some do not."""
    sizes = [int(rng.integers(1, 60)) for _ in range(3)]
    weights = [2 * rng.integers(-128, 128, (a, b)) for a, b in itertools.pairwise(sizes)]
    thetas = [rng.integers(1, int(rng.choice([60, 600, 6000])), b) for b in sizes[1:]]
    biases = [rng.integers(-40, 41, b) * int(rng.integers(0, 2)) for b in sizes[1:]]
    steps = int(rng.integers(1, 20))
    times = np.where(rng.random(sizes[0]) < rng.choice([0.1, 0.5]), 255, rng.integers(0, steps, sizes[0]))
    return weights, thetas, biases, times.astype(np.uint8), steps


def random_networks(count, path):
    """Write random networks with V and spikes of every step."""
    rng = np.random.default_rng(20261124)
    out = {"count": np.array(count)}
    for n in range(count):
        weights, thetas, biases, times, input_steps = random_network(rng)
        steps = input_steps + 4
        v, spikes = emulate(weights, thetas, biases, times, steps)
        for layer, (weight, theta, bias) in enumerate(zip(weights, thetas, biases, strict=True)):
            out.update({f"{n}.weight{layer}": weight, f"{n}.theta{layer}": theta, f"{n}.bias{layer}": bias})
        out.update({f"{n}.times": times, f"{n}.steps": np.array([input_steps, steps]), f"{n}.v": v, f"{n}.spikes": spikes})
    np.savez_compressed(path, **out)


def speed(source, target):
    """Write the spikes of a network's samples, and the seconds of stepping alone, without building a model each time."""
    given = np.load(source)
    layers, steps = range(int(given["layers"])), int(given["steps"])
    network = [[given[f"{name}{n}"] for n in layers] for name in ("weight", "theta", "bias")]
    spikes = [emulate(*network, times, steps)[1] for times in given["times"]]
    model, inputs = build(*network)
    emulator = EmulatorInterface(model, seed=0)
    wall, cpu = [], []
    for n, times in enumerate(given["times"]):
        for t in range(steps):
            inputs.add_spikes(n * steps + t + 1, np.flatnonzero(times == t))
        emulator.compartment.ref_count[:] = 0
        emulator.compartment.voltage[:] = 0
        began = time.perf_counter(), time.process_time()
        emulator.run_steps(steps)
        wall.append(time.perf_counter() - began[0])
        cpu.append(time.process_time() - began[1])
    np.savez_compressed(target, spikes=np.array(spikes), wall=np.array(wall), cpu=np.array(cpu))


def main():
    """Command line."""
    if sys.argv[1] == "random":
        random_networks(int(sys.argv[2]), sys.argv[3])
    else:
        speed(sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    main()
