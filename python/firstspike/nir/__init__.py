"""Exchange of float nets with other packages through NIR (neuromorphs/NIR); emulator programs have their own."""

from .reading import FiresOnce, from_nir
from .writing import to_nir

__all__ = ["FiresOnce", "from_nir", "to_nir"]
