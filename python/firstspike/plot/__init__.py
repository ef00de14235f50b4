"""Pictures of a net at work, from an `inspect.Monitor`: matplotlib figures that carry their units.

Colours can be told apart by colour-blind readers. Each function returns the `Figure`, which belongs to no window:
`figure.savefig(path)`, or as the last line of a notebook's cell.
"""

from .membranes import membrane
from .rasters import raster
from .spike_histograms import histogram
from .weight_maps import weights

__all__ = ["histogram", "membrane", "raster", "weights"]
