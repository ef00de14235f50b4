"""A net of windows as C99: levels instead of spike times, in closed form (docs/emulator.md, "Nets of windows")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..program.layers import Synapses
from ..program.program import Program, last_window
from ..reporting.run import Run
from . import tables
from .form import Constants, Form, Vectors


def levels_of(times: NDArray[np.uint8], steps: int) -> NDArray[np.uint8]:
    """The level T - t of each spike, 0 where silent."""
    return np.where(times == 255, 0, steps - times.astype(np.int64)).astype(np.uint8)


def level_codes(program: Program, images: tables.Input | None) -> tables.Input | None:
    """How a program takes images, with levels as codes; none where pixels are levels."""
    if images is None or images.codes is None or images.border is None:
        return images
    levels, border = (levels_of(times, program.steps) for times in (images.codes, images.border))
    whole = len(levels) == 1 and not any(program.encoder.padding) and (levels[0] == np.arange(256)).all()
    return images._replace(codes=None if whole else levels, border=border)


class Windowed(Form):
    """A program of windows. ValueError if a register could overflow: the closed form holds for exact sums."""

    folder = "c_windowed"

    def _images(self, images: tables.Input | None) -> tables.Input | None:
        return level_codes(self.program, images)

    def _largest(self) -> int:
        for layer in self.program.layers:
            if not all(layer.overflow_free().values()):
                raise ValueError(f"program must be one whose registers cannot overflow, but those of layer {layer.name} can")
        return max(int(np.abs(layer.ranges()[1]).max() + np.abs(layer.closed_form()[0]).max()) for layer in self.program.layers)

    def _weights(self) -> dict[str, tables.Weights]:
        return {
            name: tables.packed(_rows(part) << layer.shift, _groups(part))
            for n, layer in enumerate(self.program.layers)
            for name, part in zip(_names(n), layer.inputs, strict=False)
            if layer.neuron.kind != "pool"
        }

    @property
    def _firing(self) -> int:
        return max(1, sum(layer.neurons for layer in self.program.layers if layer.fires))

    @property
    def _channels(self) -> int:
        return max(layer.out_shape[2] for layer in self.program.layers)

    def _sizes(self) -> tuple[int, int]:
        constants = sum(2 * layer.out_shape[2] * self.integer for layer in self.program.layers)
        return constants, self._firing + (self._channels + self.program.classes) * self.integer + 4

    def _constants(self) -> Constants:
        window = self.program.layers[-1].inputs[0].window
        sizes = {"FS_NEURONS": self._firing, "FS_CHANNELS": self._channels, "FS_OUTPUTS": self.program.classes}
        return {**sizes, "FS_WINDOW": window, "FS_LAST_POOLS": len(last_window(self.program.layers)) - 1}

    def _tables(self) -> list[str]:
        parts, texts, first = [], [], 0
        for n, layer in enumerate(self.program.layers):
            inputs = [self._synapses(part, name) for part, name in zip(layer.inputs, _names(n), strict=False)]
            parts += [self.table(f"{name}_{n}", each) for name, each in zip(("bias", "rise"), layer.closed_form(), strict=True)]
            numbers = (*layer.out_shape, first, layer.steps, len(inputs))
            inputs += ["{0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 8, 0}"] * (2 - len(inputs))
            texts.append(f"    {{{', '.join(map(str, numbers))}, bias_{n}, rise_{n}, {{{', '.join(inputs)}}}}}")
            first += layer.neurons
        return [*parts, "const fs_layer fs_layers[FS_LAYERS] = {\n" + ",\n".join(texts) + "};\n"]

    def _synapses(self, part: Synapses, name: str) -> str:
        stored = self.weights.get(name)
        places, bits, pointer = (0, 8, "0") if stored is None else (stored.places, stored.bits, name)
        sizes = (part.source, *part.in_shape, part.pool, *part.reads, *part.stride, *part.padding, _groups(part))
        return f"{{{', '.join(map(str, (*sizes, places, bits)))}, {pointer}}}"

    def _traced(self, ran: Run, sources: NDArray[np.uint8]) -> Vectors:
        layers = self.program.layers
        firing = [n for n, layer in enumerate(layers) if layer.fires]
        levels = [levels_of(np.asarray(ran.trace[f"times.{n}"], np.uint8), layers[n].steps) for n in firing]
        cut, pools = (self.program.total_steps - ran.steps_run).astype(np.uint8)[:, None], last_window(layers)[:-1]
        levels = [np.maximum(x, cut) - cut if n in pools else x for n, x in zip(firing, levels, strict=True)]
        return {
            "uint8_t fs_vector_sources[FS_VECTORS][FS_SOURCES]": levels_of(sources, self.program.steps),
            "uint8_t fs_vector_neurons[FS_VECTORS][FS_NEURONS]": np.concatenate(levels, 1) if levels else sources[:, :1] * 0,
            "fs_int fs_vector_scores[FS_VECTORS][FS_OUTPUTS]": np.asarray(ran.scores, np.int64),
        }


def _names(n: int) -> tuple[str, str]:
    return f"weights_{n}", f"shortcut_{n}"


def _rows(part: Synapses) -> NDArray[np.int64]:
    weight = part.weight.astype(np.int64)
    return weight[:, None] if part.kind == "diagonal" else tables.by_row(weight)


def _groups(part: Synapses) -> int:
    return part.outputs if part.kind == "diagonal" else part.groups
