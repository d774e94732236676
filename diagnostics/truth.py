"""Against truth: the sections of one physics latent whose true values the data carry."""

from __future__ import annotations

from groundvae.diagnostics import coverage, rank, recovery, zscore
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.finding import Finding, LeftOutError
from groundvae.diagnostics.latents import KnownLatent, known_latents
from groundvae.diagnostics.section import Section, attributes


def against_truth(context: Context) -> Finding:
    """All sections of all physics latents with known truth, and a note on those without."""
    names = [z.name for z in context.run.model.latents]
    if not names:
        raise LeftOutError("the model has no physics latents, so there is nothing to compare")
    finding = Finding()
    known = list(known_latents(context.inference_data, context.periods))
    unknown = [n for n in names if n not in {latent.name for latent in known}]
    if unknown:
        finding.notes.append(
            f"Against truth: the data carry no true {', '.join(unknown)}, so no recovery, "
            "coverage, ranks or bias is shown."
        )
    for latent in known:
        for section in sections_of(latent):
            finding += section(context)
    return finding


def sections_of(latent: KnownLatent) -> tuple[Section, ...]:
    """Recovery, coverage, ranks and z-scores of one latent."""
    name = latent.name
    return (
        Section(
            f"recovery_{name}",
            lambda _: recovery.compute_recovery(latent),
            recovery.check_recovery,
            recovery.plot_recovery,
            attributes(**{f"{name}_correlation": "correlation"}),
            f"Inferred {name} with 90 % intervals against its true value.",
            "Points on the line are right. If fewer than 90 % of the intervals reach the line, "
            "the posterior is overconfident.",
            always=True,
        ),
        Section(
            f"coverage_{name}",
            lambda _: coverage.compute_coverage(latent),
            coverage.check_coverage,
            coverage.plot_coverage,
            attributes(**{f"{name}_coverage_deviation": "deviation"}),
            f"Share of true {name} inside central intervals against the intervals' level.",
            "Below the diagonal the intervals are too narrow, above it too wide. Averages over "
            "all observations: two groups can err in opposite directions and cancel.",
        ),
        Section(
            f"rank_{name}",
            lambda _: rank.compute_rank(latent),
            rank.check_rank,
            rank.plot_rank,
            attributes(**{f"{name}_rank_deviation": "deviation"}),
            f"Histogram of the ranks of true {name} and their distance from uniform.",
            "A valley means too narrow, a hill too wide, a slope shifted. Right: inside the grey "
            "band is what calibrated posteriors show.",
        ),
        Section(
            f"zscore_{name}",
            lambda context: zscore.compute_zscore(latent, context.prior_variance[name]),
            zscore.check_zscore,
            zscore.plot_zscore,
            attributes(**{f"{name}_bias_sd": "bias", f"{name}_zscore_rms": "rms"}),
            f"Z-score of true {name} against the contraction of its posterior.",
            "Right and near 0 is best. Far from 0: confident and wrong. Left, where little of the "
            "prior is ruled out: the data say little about it.",
        ),
    )
