"""Keys and values of a report as words."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from ..program.layers import Register

LABELS = {  # of keys that do not say enough by themselves
    "weights": "weights on the cores",
    "float_accuracy": "accuracy of the float network",
    "mismatches": "predictions that differ from the float network's",
    "ties": "ties for the best score",
    "silent": "samples without an output spike",
    "steps_to_decision_mean": "steps to decision, mean",
    "steps_to_decision_max": "steps to decision, largest",
    "latency_steps_mean": "latency on the chip in steps, mean",
    "latency_steps_max": "latency on the chip in steps, largest",
    "latency_ns_min": "latency on the chip, ns, at the shortest step",
    "latency_ns_max": "latency on the chip, ns, at the longest step",
    "operations_delivered_per_image": "synaptic operations delivered per image",
    "operations_effective_per_image": "synaptic operations effective per image",
    "host_macs_per_image": "multiply-adds on the host per image",
    "fits": "fits the chip",
    "refusal": "why it does not fit",
    "fullest_core_neurons": "fullest core, share of its neurons",
    "fullest_core_memory": "fullest core, share of its synapse memory",
    "fullest_core_axons_in": "fullest core, share of its axons in",
    "energy_nj_per_image": "energy per image, nJ",
    "energy_cores_nj_per_image": "energy per image, nJ, without the host",
    "updates_active": "active updates",
    "updates_inactive": "inactive updates",
    "max_abs_weight": "largest |W|",
    "clipped": "clipped weights",
    "zeros": "zero weights",
    "theta_min": "lowest threshold",
    "theta_max": "highest threshold",
    "scale_set_by_threshold": "scale set by the threshold's width",
    "dropped_bias": "largest dropped bias",
    "accumulator_overflow_free": "accumulator cannot overflow",
    "membrane_overflow_free": "membrane cannot overflow",
    "share": "share of the total",
    "firing": "firing neurons",
    "cores": "all cores",
    "host": "host layer",
}


def label(key: str) -> str:
    """The words for a key."""
    return LABELS.get(key, key.replace("_", " "))


def text(value: Any) -> str:
    """A value as a reader expects it: four digits, thousands apart, yes or no, "unknown" for None."""
    if isinstance(value, Register):
        return f"{value.low} to {value.high}, {value.policy}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if value is None or (isinstance(value, float) and value != value):
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return str(value) if abs(int(value)) < 10_000 else f"{int(value):,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
