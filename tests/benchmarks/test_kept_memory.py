import torch
from benchmarks.nets.dense import loop, scan

from benchmarks import kept_memory


def test_each_storage_counts_once_and_known_ones_do_not():
    weight = torch.ones(10, 10, requires_grad=True)
    x = torch.ones(4, 10)

    def forward():
        hidden = (x @ weight).exp()  # exp keeps its result, 4 x 10 floats; the product keeps x and weight
        return (hidden[:2] * hidden[2:]).sum()  # two views of that result

    assert kept_memory.kept_bytes(forward, [weight, x]) == 4 * 10 * 4
    assert kept_memory.kept_bytes(forward, [weight]) == 2 * 4 * 10 * 4


def test_dense_neurons_as_a_loop_and_as_a_running_sum_agree():
    generator = torch.Generator().manual_seed(0)
    current = torch.randn(6, 3, 50, generator=generator, dtype=torch.float64)
    gradient = torch.randn(current.shape, generator=generator, dtype=torch.float64)
    results = []
    for neurons in (loop, scan):
        x = current.clone().requires_grad_()
        spikes = neurons(x)
        spikes.backward(gradient)
        results.append((spikes.detach(), x.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
    assert (results[0][0].sum(0) <= 1).all() and (results[0][0].sum(0) == 0).any()
