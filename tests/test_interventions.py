"""Interventions: as text, and on a Pyro program."""

from __future__ import annotations

import contextlib

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyro import poutine

from groundvae.data.errors import InputError
from groundvae.models.intervention import Change, Intervention, parse_intervention

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def program() -> torch.Tensor:
    omega = pyro.sample("omega", dist.Uniform(0.5, 3.0))
    other = pyro.sample("other", dist.Normal(0.0, 1.0))
    return pyro.sample("x", dist.Delta(omega**2 + other))


def values(changes: dict[str, Change]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    with Intervention(changes):
        trace = poutine.trace(program).get_trace()
    return {name: trace.nodes[name]["value"] for name in ("omega", "other", "x")}


@given(number=FINITE, operator=st.sampled_from(["*", "+", ""]))
def test_every_number_is_read(number: float, operator: str) -> None:
    expected = {
        "*": Change(factor=number),
        "+": Change(shift=number),
        "": Change(factor=0.0, shift=number),
    }
    assert parse_intervention(f" omega {operator}= {number!r} ") == ("omega", expected[operator])


@given(st.text())
def test_any_text_is_a_change_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        name, change = parse_intervention(text)
        assert name.isidentifier()
        assert isinstance(change, Change)


@pytest.mark.parametrize(
    "text",
    ["", "omega", "omega==1", "omega/=2", "omega*=", "omega*=x", "omega=1e999", "omega=nan"],
)
def test_bad_numbers_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME"):
        parse_intervention(text)


@pytest.mark.parametrize(
    "text",
    ["omega=1.2.3", "2*=omega", "omega*=2; x=1", "omega=__import__('os')"],
)
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME"):
        parse_intervention(text)


def test_a_change_reaches_what_is_downstream_and_nothing_else() -> None:
    plain, changed = values({}), values({"omega": Change(factor=2.0, shift=0.5)})
    torch.testing.assert_close(changed["omega"], 2 * plain["omega"] + 0.5)
    torch.testing.assert_close(changed["other"], plain["other"])
    torch.testing.assert_close(changed["x"], changed["omega"] ** 2 + changed["other"])


def test_setting_a_latent_forgets_its_draw() -> None:
    assert values({"omega": Change(factor=0.0, shift=1.5)})["omega"] == 1.5


def test_the_no_op_changes_nothing() -> None:
    plain, same = values({}), values({"omega": Change(), "other": Change()})
    assert all(torch.equal(plain[name], same[name]) for name in plain)
