"""What posteriors leave open, as data: points of the right covariance, and noise that is found."""

from __future__ import annotations

import pytest
import torch

from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.spread import either_way, signs

DOUBLE = torch.float64


@pytest.mark.parametrize("columns", [1, 2, 7])
def test_signs_are_independent_over_observations(columns: int) -> None:
    side = signs(16, columns)
    assert torch.equal(side.abs(), torch.ones(16, columns))
    assert torch.equal(side.mT @ side, 16 * torch.eye(columns))
    assert torch.equal(side.sum(0), torch.zeros(columns))


def test_points_have_the_mean_and_the_covariance_of_the_posterior() -> None:
    torch.manual_seed(0)
    jacobian = torch.randn(6, 3, dtype=DOUBLE).expand(16, 6, 3)
    off = torch.randn(1, 6, dtype=DOUBLE).expand(16, 6)
    at = torch.zeros(16, 3, dtype=DOUBLE)
    linear = LinearGaussian(jacobian, torch.zeros_like(off), at)
    points = either_way(off, jacobian, linear)
    assert torch.allclose(points.mean(0), off[0])
    expected = jacobian[0] @ linear.covariance()[0] @ jacobian[0].mT
    assert torch.allclose(torch.cov(points.mT, correction=0), expected, atol=1e-8)
