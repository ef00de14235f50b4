"""The fused kernels as torch operators, one module per subject: schema, fake kernel, gradient and implementations.

| module | operators |
|---|---|
| `times` | `from_dense`, `dense`, `dense_anchor`, `at_support`: dense trains and spike times |
| `layer` | `fire_layer`: linear and convolution layers of neurons that fire |
| `shortcut` | `fire_layer_shortcut`: the same with spikes that go into the current of its outputs one by one |
| `integrate` | `integrate_layer`: layers of membranes that never fire |
| `direct` | `direct_convolution`: the current of directly coded maps |
| `ramp` | `ramp`: neurons with a constant current |
| `fire` | `fire`: the dense neuron |
| `distinct` | `distinct`: what max pooling leaves of single-spike trains |
| `earliest` | `earliest_pool`: the earliest spike of each window |
| `windowed` | `windowed_values`, `windowed_product`, `windowed_fire`, `windowed_layer`, `windowed_earliest`: layers of windows |
| `dropout`, `normalize`, `latency` | `dropout`, `normalize_weight`, `latency` |
| `prepacked` | `PrepackedLayers`: layers packed once, for inference; not an operator |

`_operator` registers them and holds what is true of all, `_support` what several implementations share, `_cuda` what those for
CUDA share.
"""

from . import direct as direct
from . import distinct as distinct
from . import dropout as dropout
from . import earliest as earliest
from . import fire as fire
from . import integrate as integrate
from . import latency as latency
from . import layer as layer
from . import normalize as normalize
from . import prepacked as prepacked
from . import ramp as ramp
from . import shortcut as shortcut
from . import times as times
from . import windowed as windowed
