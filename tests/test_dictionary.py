"""The dictionary of an unknown residual: its sums are those of its functions one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import groundvae as gv
from groundvae.models.residuals import unknown as unknowns
from groundvae.models.residuals.features import Dictionary
from groundvae.models.systems.pendulum import Pendulum
from groundvae.models.values import Values


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
def test_both_sums_are_those_of_the_functions(count: int, degree: int, seed: int) -> None:
    made = torch.Generator().manual_seed(seed)
    functions = Dictionary([f"s{i}" for i in range(count)], degree)
    states = torch.randn(count, 5, 3, generator=made, dtype=torch.double)
    weights = torch.randn(len(functions.names), 3, generator=made, dtype=torch.double)
    share = torch.rand(5, 1, generator=made, dtype=torch.double)
    scales = 0.5 + torch.rand(count, generator=made, dtype=torch.double)
    sized = [state / scale for state, scale in zip(states, scales, strict=True)]
    apart = (functions.of(share, sized) * weights.T).sum(-1)
    at_once = functions.summing(weights, scales)(share, states.unbind(0))
    nested = functions.nesting(weights.unbind(0), scales)(share, states.unbind(0))
    torch.testing.assert_close(at_once, apart, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(nested, apart, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("many", [0, 1000], ids=["nested", "at once"])
@pytest.mark.parametrize("placed", [0, 1])
def test_what_is_pushed_is_the_sum_of_features_times_weights(
    placed: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unknowns, "MANY", many)
    unknown = gv.Unknown("velocity", span=3.0, frequencies=4)
    unknown.attach(Pendulum())
    unknown.double()
    if placed:
        put = torch.tensor([[0.4, 0.0], [0.3, 1e3]], dtype=torch.double)
        unknown.place(put[0], put[1], 0, torch.zeros(1).double(), torch.ones(1).double())
    made = torch.Generator().manual_seed(0)
    drawn = torch.randn(2, 7, 6, generator=made, dtype=torch.double)
    states = Values({"theta": drawn[0], "velocity": drawn[1]}, "state")
    weights = torch.randn(len(unknown.names), 6, 1, generator=made, dtype=torch.double)
    time = torch.tensor(0.7, dtype=torch.double)
    features = unknown.of_states(time, states)
    apart = (features.unsqueeze(-1) * weights.movedim(0, -2)).sum(-2)
    found = unknown.summing(weights)(time, states)
    torch.testing.assert_close(found, apart, rtol=1e-10, atol=1e-10)
