"""Read a pickle that may hold tuples of numpy arrays, and refuse any other."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct  # what a pickled array names, under its old module as under its new

_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"only numpy arrays are admitted, the pickle names {module}.{name}") from None


def load_arrays(file: io.BufferedIOBase) -> Any:
    """The tuples and arrays in a pickle; text of Python 2 is read as latin-1, as numpy's own pickles need.

    Raises:
        pickle.UnpicklingError: if the pickle names anything but numpy's arrays and dtypes, or an array of objects.
    """
    value = _ArraysOnly(file, encoding="latin1").load()
    _refuse_objects(value)
    return value


def _refuse_objects(value: Any) -> None:
    if isinstance(value, tuple | list):
        for item in value:
            _refuse_objects(item)
    elif not isinstance(value, np.ndarray) or value.dtype.hasobject:
        raise pickle.UnpicklingError(f"only tuples of numeric arrays are admitted, got {type(value).__name__}")
