"""The optimizer Muon against its formulas, and in runs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from firstspike import train
from firstspike.train.muon import orthogonalize

from ..samples import generator


@pytest.mark.parametrize("shape", [(5, 30), (30, 5), (12, 12), (1, 9), (40, 360)])
def test_singular_values_come_near_1_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=generator(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    made = orthogonalize(matrix, 5)
    a, b, c = 3.4445, -4.7750, 2.0315
    values = values / values.norm()
    for _ in range(5):
        values = a * values + b * values**3 + c * values**5
    torch.testing.assert_close(made, left @ values.diag() @ right)
    assert orthogonalize(matrix.float(), 5).double() == pytest.approx(made, abs=1e-4)
    if min(shape) < max(shape) / 2:  # a square matrix may have values so small that five steps do not reach 1
        assert values.min() > 0.6 and values.max() < 1.3


def test_zeros_stay_zeros_and_parameters_without_a_gradient_stay() -> None:
    assert not orthogonalize(torch.zeros(3, 4)).any()
    used, unused = (nn.Parameter(torch.ones(3, 3)) for _ in range(2))
    used.grad = torch.eye(3)
    assert train.Muon([used, unused], lr=0.1).step(lambda: 1.5) == 1.5
    assert not torch.equal(used, torch.ones(3, 3)) and torch.equal(unused, torch.ones(3, 3))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has it since 2.9")
def test_a_matrix_moves_in_the_direction_of_torchs_muon_by_a_share_of_its_norm() -> None:
    """torch.optim.Muon works in bfloat16, so only to its precision."""
    ours, theirs = (nn.Parameter(torch.randn(20, 50, generator=generator(0))) for _ in range(2))
    optimizers = train.Muon([ours], lr=0.05), torch.optim.Muon([theirs], lr=0.05, weight_decay=0.0, momentum=0.9)
    for step in range(5):
        gradient = torch.randn(20, 50, generator=generator(step + 1))
        moved = []
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            before = parameter.detach().clone()
            parameter.grad = gradient.clone()
            optimizer.step()
            moved.append((parameter.detach() - before).flatten())
            if parameter is ours:
                assert float(moved[0].norm()) == pytest.approx(0.05 * float(before.norm()), rel=0.05)
                assert float(parameter.detach().norm()) == pytest.approx(float(before.norm()), rel=1e-5)
        along = ours.detach().flatten() / ours.detach().norm()  # what scaling back takes away
        moved = [vector - (vector @ along) * along for vector in moved]
        assert torch.cosine_similarity(*moved, dim=0) > 0.99


def test_a_kernel_is_updated_as_the_matrix_of_its_outputs() -> None:
    kernel = nn.Parameter(torch.randn(6, 4, 3, 3, generator=generator(0)))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    optimizers = [train.Muon([parameter], lr=0.1) for parameter in (kernel, matrix)]
    for step in range(3):
        gradient = torch.randn(6, 4, 3, 3, generator=generator(step + 1))
        kernel.grad, matrix.grad = gradient.to(memory_format=torch.channels_last), gradient.flatten(1)
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(kernel.flatten(1), matrix)


def test_parameters_of_one_dimension_are_updated_by_adam() -> None:
    ours, theirs = (nn.Parameter(torch.randn(9, generator=generator(0))) for _ in range(2))
    optimizers = (train.Muon([ours], lr=0.2, adam_ratio=0.25), torch.optim.Adam([theirs], lr=0.05))
    for step in range(5):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.randn(9, generator=generator(step + 1))
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "options", [{"lr": math.nan}, {"momentum": 1.0}, {"betas": (0.9, 1.0)}, {"adam_ratio": -0.1}, {"eps": 0.0}, {"iterations": 0}]
)
def test_bad_settings_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        train.Muon([nn.Parameter(torch.ones(2, 2))], **options)  # type: ignore[arg-type]
    for zero in (torch.zeros(3, 4), nn.Embedding(5, 3, sparse=True).weight):  # a weight, and a sparse gradient
        weight = nn.Parameter(zero)
        weight.grad = torch.ones(weight.shape) if len(weight) == 3 else torch.ones(5, 3).to_sparse()
        with pytest.raises(ValueError, match="must"):
            train.Muon([weight]).step()
