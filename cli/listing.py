"""``list``: what can be named on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from groundvae.cli.console import say
from groundvae.guides.catalogue import GUIDES
from groundvae.inference.penalty import PENALTIES
from groundvae.inference.preset import PRESETS
from groundvae.inference.run import Run, load_run
from groundvae.models.prior import COMPOSED, DISTRIBUTIONS, format_prior
from groundvae.models.systems import SYSTEMS


@dataclass(frozen=True)
class List:
    """List the systems with their latents and variants, guides, penalties and losses; or a run."""

    run_folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None
    """A run to tell about instead: what was fitted, and under which priors."""

    def run(self) -> None:
        if self.run_folder is not None:
            describe(load_run(self.run_folder))
            return
        say("systems")
        for name, entry in SYSTEMS.items():
            say(f"  {name}: {entry.summary}")
            say(f"    variants: {', '.join(entry.variants)}")
            for latent in entry.build().latents:
                prior = format_prior(latent.prior)
                say(f"    latent {latent.name} ({latent.unit}): {latent.meaning}; prior {prior}")
        say(f"guides\n  {', '.join(GUIDES)}")
        say("penalties")
        for name, penalty in PENALTIES.items():
            summary = (penalty.__doc__ or "").strip().splitlines()[0]
            say(f"  {name}: {summary}")
        say("losses")
        for name, preset in PRESETS.items():
            say(f"  {name}: {(preset.__doc__ or '').strip()}")
        say(f"priors\n  {', '.join([*DISTRIBUTIONS, *COMPOSED])}")


def describe(run: Run) -> None:
    """What a run is: system, variant, guide, loss, data, fit and every prior."""
    config, fit = run.config, run.fit
    how = config.how
    sizes = "".join(f", {name} {value}" for name, value in how.guide_options.items())
    say(f"system: {config.system}, {config.variant}")
    say(f"guide: {how.guide}{sizes}")
    say(f"loss: {how.loss}")
    say(f"trained on: {config.trained_on}")
    say(f"fit: {fit.stop}, {fit.steps} steps in {fit.seconds:.0f} s, ELBO {fit.best_elbo:.4g}")
    say("priors")
    hyper = run.guide.population.centres()
    for name, text in config.priors.items():
        found = f"; inferred, median {float(hyper[name]):.4g}" if name in hyper else ""
        say(f"  {name} ~ {text}{found}")
