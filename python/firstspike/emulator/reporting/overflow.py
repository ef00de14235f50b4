"""What a report says of registers that overflowed."""

from __future__ import annotations

from .runner import Run
from .values import text

REGISTERS = ("accumulator", "membrane")


def overflow_notes(run: Run) -> list[str]:
    """One line per layer whose registers overflowed, then one with what to do; none where no register did."""
    layers, lines, settings = run.program.layers, [], set()
    for n, layer in enumerate(layers):
        told = []
        for register in REGISTERS:
            times = run.count(f"{register}_overflows")[:, n]
            if times.any():
                share, mean = text(100 * float((times > 0).mean())), text(float(times.mean()))
                told.append(f"the {register} overflowed in {share} % of the samples, {mean} times per sample")
                settings.add(f"{register}_bits")
        if told:
            lines.append(f"layer {layer.name}: {'; '.join(told)}")
    if not lines:
        return []
    last = not layers[-1].fires and bool(run.count("membrane_overflows")[:, -1].any())
    readout = "Calibrate the readout with more images (quantize(calibration=)). " if last else ""
    return [
        *lines,
        f"Overflow can cost much accuracy, above all in the readout. {readout}Fewer weight bits (bits=, --bits) make all scales "
        f"coarser; a profile of your own can have more {' and '.join(sorted(settings))}.",
    ]
