"""What a version of torch cannot do."""

import pytest
import torch

TORCH = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
needs_one_graph = pytest.mark.skipif(TORCH < (2, 7), reason="torch 2.6 breaks the graphs of nets (docs: Compile and export)")
