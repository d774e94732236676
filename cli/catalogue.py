"""What is registered, and what a run is, in words."""

from __future__ import annotations

from collections.abc import Iterator

from groundvae.guides.catalogue import GUIDES
from groundvae.inference.penalty import PENALTIES
from groundvae.inference.preset import PRESETS
from groundvae.inference.run import Run
from groundvae.models.prior import COMPOSED, DISTRIBUTIONS, format_prior
from groundvae.models.systems import SYSTEMS


def catalogue() -> Iterator[str]:
    """What can be named on the command line, line by line."""
    yield "systems"
    for name, entry in SYSTEMS.items():
        yield f"  {name}: {entry.summary}"
        yield f"    variants: {', '.join(entry.variants)}"
        for told in dict.fromkeys(v.knows for v in entry.variants.values() if v.knows):
            which = ", ".join(k for k, v in entry.variants.items() if v.knows == told)
            yield f"    told of what is missing {told}: {which}"
        for latent in entry.build().latents:
            prior = format_prior(latent.prior)
            yield f"    latent {latent.name} ({latent.unit}): {latent.meaning}; prior {prior}"
    yield f"guides\n  {', '.join(GUIDES)}"
    yield "penalties"
    for name, penalty in PENALTIES.items():
        summary = (penalty.__doc__ or "").strip().splitlines()[0]
        yield f"  {name}: {summary}"
    yield "losses"
    for name, preset in PRESETS.items():
        yield f"  {name}: {(preset.__doc__ or '').strip()}"
    yield f"priors\n  {', '.join([*DISTRIBUTIONS, *COMPOSED])}"


def describe(run: Run) -> Iterator[str]:
    """What a run is: system, variant, guide, loss, data, fit and every prior."""
    config, fit = run.config, run.fit
    how = config.how
    sizes = "".join(f", {name} {value}" for name, value in how.guide_options.items())
    yield f"system: {config.system}, {config.variant}"
    yield f"guide: {how.guide}{sizes}"
    yield f"loss: {how.loss}"
    yield f"trained on: {config.trained_on}"
    yield f"fit: {fit.stop}, {fit.steps} steps in {fit.seconds:.0f} s, ELBO {fit.best_elbo:.4g}"
    yield "priors"
    hyper = run.guide.population.centres()
    for name, text in config.priors.items():
        found = f"; inferred, median {float(hyper[name]):.4g}" if name in hyper else ""
        yield f"  {name} ~ {text}{found}"
