from tests.compare import check_layer
from tests.samples import layer
def test_a(on_host):
    check_layer("linear", layer((3, 40), (50, 40), 8))
def test_b(on_host):
    check_layer("conv2d", layer((2, 5, 6, 6), (37, 5, 3, 3), 8, avg_pool=2, padding=1))
