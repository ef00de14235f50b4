"""What to do about a part that has no spikes."""

from __future__ import annotations

_CURVES = (
    "celu", "elu", "erf", "gelu", "glu", "hardsigmoid", "hardswish", "leakyrelu", "logsigmoid", "mish", "prelu", "selu",
    "sigmoid", "silu", "softplus", "softsign", "tanh",
)  # fmt: skip
ROW = "give signals one row, [B, C, 1, N], and Conv2d with kernels of one row"


def remedy(kind: str, taken: str) -> str:
    """Return the way out for an operator, a function or a class of a module; `taken` says what can be converted."""
    kind = kind.lower().replace("_", "")
    if kind in _CURVES:
        return "only ReLU-like activations have spikes: train the net with ReLU or ReLU6 in its place"
    if kind == "multithreshold":
        return "its thresholds need not lie evenly: give the file of Quant nodes from which FINN made it"
    return ROW if kind == "conv1d" else taken
