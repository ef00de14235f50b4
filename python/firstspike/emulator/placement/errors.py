"""The error of a placement."""

from __future__ import annotations


class DoesNotFit(ValueError):
    """A program that a chip cannot hold. layer, resource, required, available: as in the message."""

    def __init__(self, layer: str, resource: str, required: object, available: object) -> None:
        super().__init__(f"layer {layer}: {resource}: required {required}, available {available}")
        self.layer, self.resource, self.required, self.available = layer, resource, required, available
