"""Priors as text: round trip, hostile text, supports."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from groundvae.data.errors import InputError
from groundvae.models.ownfile import find_system
from groundvae.models.prior import (
    DISTRIBUTIONS,
    format_prior,
    parse_prior,
    split_assignment,
)

POSITIVE = st.floats(2**-10, 2**10, width=32)
REAL = st.floats(-(2**10), 2**10, width=32, allow_subnormal=False)
ARGUMENTS: dict[str, dict[str, st.SearchStrategy[float]]] = {
    "AxialVonMises": {"loc": REAL, "concentration": POSITIVE},
    "Beta": {"concentration1": POSITIVE, "concentration0": POSITIVE},
    "Cauchy": {"loc": REAL, "scale": POSITIVE},
    "Exponential": {"rate": POSITIVE},
    "Gamma": {"concentration": POSITIVE, "rate": POSITIVE},
    "Gumbel": {"loc": REAL, "scale": POSITIVE},
    "HalfCauchy": {"scale": POSITIVE},
    "HalfNormal": {"scale": POSITIVE},
    "InverseGamma": {"concentration": POSITIVE, "rate": POSITIVE},
    "Kumaraswamy": {"concentration1": POSITIVE, "concentration0": POSITIVE},
    "Laplace": {"loc": REAL, "scale": POSITIVE},
    "LogNormal": {"loc": REAL, "scale": POSITIVE},
    "Logistic": {"loc": REAL, "scale": POSITIVE},
    "Normal": {"loc": REAL, "scale": POSITIVE},
    "StudentT": {"df": POSITIVE, "loc": REAL, "scale": POSITIVE},
    "Uniform": {"low": st.floats(-(2**10), -1, width=32), "high": POSITIVE},
    "VonMises": {"loc": REAL, "concentration": POSITIVE},
    "Weibull": {"scale": POSITIVE, "concentration": POSITIVE},
}
WORDS = st.sampled_from([*DISTRIBUTIONS, *"()=,.*-+'_", "1", "0.5", "1e5", "loc", "nan", "x", " "])


def test_every_distribution_is_tested() -> None:
    assert ARGUMENTS.keys() == DISTRIBUTIONS.keys()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_text_and_back_is_the_same_distribution(name: str, choice: st.DataObject) -> None:
    values = {key: choice.draw(strategy) for key, strategy in ARGUMENTS[name].items()}
    text = f"{name}({', '.join(f'{k}={v!r}' for k, v in values.items())})"
    prior = parse_prior(format_prior(parse_prior(text)))
    assert format_prior(prior) == format_prior(parse_prior(text))
    for key, value in values.items():
        assert float(getattr(prior, key)) == torch.tensor(value)


@pytest.mark.parametrize("text", ["LogNormal(0.5, 0.4)", " LogNormal(0.5,scale=+0.4) "])
def test_positional_and_named_arguments_agree(text: str) -> None:
    assert format_prior(parse_prior(text)) == "LogNormal(loc=0.5, scale=0.4)"


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(WORDS, max_size=12).map("".join)))
@example("Normal(" * 500 + ")" * 500)
@example("Normal(" + "9" * 5000 + ", 1)")
@example("Normal('\\d', 1)")
@example("Normal(1if 2else 3, 1)")
@example("\x00")
def test_any_text_is_a_distribution_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert type(parse_prior(text)).__name__ in DISTRIBUTIONS


@pytest.mark.parametrize(
    "text",
    [
        "Normal(open({path!r}, 'w'), 1)",
        "open({path!r}, 'w')",
        "Normal(__import__('pathlib').Path({path!r}).touch(), 1)",
        "Normal(0, 1) if open({path!r}, 'w') else 0",
        "(lambda: open({path!r}, 'w'))()",
        "Normal(*[open({path!r}, 'w')])",
    ],
)
def test_nothing_is_evaluated(tmp_path: Path, text: str) -> None:
    trap = tmp_path / "trap"
    with pytest.raises(InputError):
        parse_prior(text.format(path=str(trap)))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Normal", "expected NAME"),
        ("Norml(0, 1)", "Norml"),
        ("Normal(0)", "loc, scale"),
        ("Normal(0, 1, 2)", "loc, scale"),
        ("Normal(0, -1)", "out of range"),
        ("Normal(0, width=1)", "loc, scale"),
        ("Normal(0, True)", "plain numbers"),
        ("Normal(0, 1j)", "finite numbers"),
        ("Normal(0, 1e999)", "finite numbers"),
        ("Uniform(2, 1)", "out of range"),
        ("MultivariateNormal(0, 1)", "MultivariateNormal"),
        ("", "expected NAME"),
    ],
)
def test_the_error_names_what_is_wrong(text: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        parse_prior(text)


@pytest.mark.parametrize("text", ["omega", "=Normal(0, 1)", "omega=", ""])
def test_an_assignment_needs_both_sides(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME="):
        split_assignment(text)


@pytest.mark.parametrize(
    ("latent", "text"),
    [
        ("omega", "Normal(0, 1)"),
        ("omega", "Uniform(-1, 1)"),
        ("omega", "Laplace(5, 0.1)"),
        ("theta0", "Uniform(-4, 4)"),
        ("theta0", "Normal(0, 0.1)"),
        ("theta0", "HalfNormal(1)"),
    ],
)
def test_a_prior_that_leaves_the_support_is_refused(latent: str, text: str) -> None:
    with pytest.raises(InputError, match=f"{latent}.*expected support within"):
        find_system("pendulum").build(priors={latent: parse_prior(text)})


@pytest.mark.parametrize(
    ("latent", "text"),
    [
        ("omega", "LogNormal(0.5, 0.4)"),
        ("omega", "Uniform(0, 3)"),
        ("omega", "HalfNormal(2)"),
        ("omega", "Beta(2, 2)"),
        ("theta0", "Uniform(-3.14, 3.14)"),
    ],
)
def test_a_prior_within_the_support_is_taken(latent: str, text: str) -> None:
    model = find_system("pendulum").build(priors={latent: parse_prior(text)})
    found = {z.name: format_prior(z.prior) for z in model.latents}
    assert found[latent] == format_prior(parse_prior(text))


def test_a_prior_of_an_unknown_latent_is_refused() -> None:
    with pytest.raises(InputError, match="gravity"):
        find_system("pendulum").build(priors={"gravity": parse_prior("HalfNormal(1)")})
