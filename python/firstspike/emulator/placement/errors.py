"""The error of a placement."""

from __future__ import annotations


class DoesNotFit(ValueError):
    """A program that a chip cannot hold. layer, resource, required, available: as in the message.

    Examples:
        >>> profile = emulator.profile.load("generic8").replace(cores=(emulator.profile.CoreKind(1, neurons=8),))
        >>> emulator.place(emulator.quantize(models.mlp("64-32-10", steps=8), profile))
        Traceback (most recent call last):
            ...
        firstspike.emulator.placement.errors.DoesNotFit: ...
    """

    def __init__(self, layer: str, resource: str, required: object, available: object) -> None:
        super().__init__(f"layer {layer}: {resource}: required {required}, available {available}")
        self.layer, self.resource, self.required, self.available = layer, resource, required, available
