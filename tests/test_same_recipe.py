"""Python and the command line fit the same: the same recipe, the same numbers, the same run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from groundvae.cli.commands import Fit
from groundvae.cli.fit import recipe_of
from groundvae.cli.main import main
from groundvae.cli.source import read_data
from groundvae.inference.fit import apart, fit
from groundvae.inference.run import Run, load_run
from groundvae.models.systems import SYSTEMS

# A search of fields costs half a minute, however few they are.
SLOW = {"advection_diffusion": [pytest.mark.slow]}
USUAL = [
    pytest.param(name, entry.usual, marks=SLOW.get(name, [])) for name, entry in SYSTEMS.items()
]
OTHERS = [("pendulum", "nn-only"), ("pendulum", "physics-only"), ("pendulum", "hybrid-told")]
OTHERS += [("advection_diffusion", "hybrid-told")]
TINY = {"steps": 2, "sleep": 1.0, "calibrate": 1.0, "batch_size": 8, "validate_every": 1}
SEED = 3


pytestmark = pytest.mark.usefixtures("one_thread")


def weights(run: Run) -> dict[str, torch.Tensor]:
    both = torch.nn.ModuleDict({"model": run.model, "guide": run.guide})
    return dict(both.state_dict())


@pytest.mark.parametrize(("system", "variant"), [*USUAL, *OTHERS])
def test_python_and_the_command_line_fit_the_same(
    system: str, variant: str, tmp_path: Path
) -> None:
    entry = SYSTEMS[system]
    assert entry.source.simulate is not None
    path, folder = tmp_path / "data.npz", tmp_path / "run"
    few = {"times": 0.05 * np.arange(20)} if system == "pendulum" else {}
    entry.source.simulate(9 if system == "galaxy" else 15, 0, **few).save(path)

    words = [w for k, v in TINY.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    words += ["--seed", str(SEED), "--threads", "1", "--out", str(folder)]
    named = [] if variant == entry.usual else ["--variant", variant]
    assert main(["fit", system, "--data", str(path), *named, *words]) == 0
    typed = load_run(folder)

    usual = entry.variant(variant).recipe
    recipe = replace(usual, options=replace(usual.options, **TINY))  # type: ignore[arg-type]
    name = "" if variant == entry.usual else variant
    data = read_data(path, entry)
    train, valid = apart(data)
    runs = [fit(system, train, valid=valid, variant=name, recipe=recipe, seed=SEED)]
    if variant == "physics-only":  # what is put aside unasked does not depend on the model
        runs.append(fit(system, data, variant=name, recipe=recipe, seed=SEED))
    for run in runs:
        assert run.config.how == typed.config.how
        assert run.config.model == typed.config.model
        assert run.config.variant == typed.config.variant == variant
        assert run.fit.steps == typed.fit.steps
        found, known = weights(run), weights(typed)
        assert found.keys() == known.keys()
        assert all(torch.equal(found[key], known[key]) for key in known)
        assert run.ood_reference is not None
        assert typed.ood_reference is not None
        learned, read = vars(run.ood_reference), vars(typed.ood_reference)
        assert learned.keys() == read.keys()
        assert all(torch.equal(learned[key], read[key]) for key in learned)


def test_what_is_fitted_without_a_word_is_the_usual_recipe() -> None:
    """The command's own defaults change nothing of it."""
    for name, entry in SYSTEMS.items():
        for variant in entry.variants:
            assert recipe_of(Fit(name, variant=variant), entry) == entry.variant(variant).recipe, (
                name,
                variant,
            )
