"""Exchange of float nets with other packages through NIR (neuromorphs/NIR); emulator programs have their own."""

from .exchange import FiresOnce, from_nir, to_nir

__all__ = ["FiresOnce", "from_nir", "to_nir"]
