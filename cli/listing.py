"""``list``: what can be named on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from groundvae.cli.console import say
from groundvae.guides.catalogue import GUIDES
from groundvae.inference.penalty import PENALTIES
from groundvae.inference.preset import PRESETS
from groundvae.models.catalogue import CATALOGUE
from groundvae.models.prior import DISTRIBUTIONS, format_prior


@dataclass(frozen=True)
class List:
    """List the systems with their latents and variants, guides, penalties and losses."""

    def run(self) -> None:
        say("systems")
        for name, entry in CATALOGUE.items():
            say(f"  {name}: {entry.summary}")
            say(f"    variants: {', '.join(entry.variants)}")
            for latent in entry.build().grounding.latents:
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
        say(f"priors\n  {', '.join(DISTRIBUTIONS)}")
