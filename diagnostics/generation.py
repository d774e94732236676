"""Generation: is what the model makes up like what was measured, and does it do as it is told?

Half of the measured observations are kept apart: what they are from the other half is what perfect
generation would be. Beside the model stands a normal in as many principal components as the model
has numbers. Misleads: distances in 20 components do not see what is beyond them; a model that
copies does well, which the nearest neighbours tell.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import wasserstein_distance

from groundvae.data.dataset import Dataset
from groundvae.diagnostics.check import Check, Condition, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.distance import (
    Components,
    classify,
    energy_distance,
    frechet_distance,
    nearest_ratio,
)
from groundvae.diagnostics.style import CYCLE, DATA, FULL
from groundvae.inference.generation import as_dataset, generate
from groundvae.inference.observed import observations_of
from groundvae.inference.run import Run
from groundvae.models.circle import difference

FEWEST = 20  # observations, half of which stand for what is not seen
MOST = 500  # of each half
WITHIN = 0.05, 0.95  # of the population, the values that a latent is set to
SETS = 100  # observations made at set values


def judge_generation(made: np.ndarray, known: np.ndarray, unseen: np.ndarray) -> dict[str, float]:
    """How far observations that were made, (observation, *event), are from ``unseen`` ones.

    ``known``: measured ones that a model or a baseline may have seen; components are theirs.
    """
    components = Components.of(known)
    new, old, other = components(made), components(known), components(unseen)
    # Components of one set have more of its noise: a classifier would find that, and nothing else.
    both = Components.of(np.concatenate([made, unseen]))
    told = classify(both(made), both(unseen))
    return {
        "energy": energy_distance(new, other),
        "frechet": frechet_distance(new, other),
        "accuracy": told.accuracy,
        "accuracy_low": told.low,
        "accuracy_high": told.high,
        "nearest": nearest_ratio(new, other, old),
    }


def baseline(known: np.ndarray, numbers: int, n: int, seed: int = 0) -> np.ndarray:
    """``n`` draws (n, *event) of a normal in ``numbers`` principal components of ``known``."""
    components = Components.of(known, numbers)
    drawn = components.draw(components(known), n, seed)
    return drawn.reshape(n, *known.shape[1:])


def summaries(run: Run, made: Dataset, measured: Dataset) -> dict[str, float]:
    """Of what is measured without a model: Wasserstein distances over the measured spread."""
    measure = run.entry.source.measure
    one, other = measure(made), measure(measured)
    return {
        name: float(wasserstein_distance(one[name], other[name]) / (other[name].std() + 1e-12))
        for name in other
    }


def control(run: Run, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values that latents were set to, and what is then measured, (observation,) each, by latent.

    Of those physics latents that can be measured without the model.
    """
    drawn = generate(run, 10 * SETS, seed=seed)["prior"]
    found = {}
    for latent in run.model.latents:
        low, high = np.quantile(drawn[latent.name].values, WITHIN)
        values = np.linspace(low, high, SETS)
        made = as_dataset(generate(run, SETS, seed=seed, chosen={latent.name: values}), run)
        measured = run.entry.source.measure(made)
        if latent.name in measured:
            found[latent.name] = values, measured[latent.name]
    return found


def compute_generation(run: Run, data: Dataset, seed: int = 0) -> xr.Dataset:
    """Distances of the model, of a baseline and of the other half from one half of ``data``."""
    order = np.random.default_rng(seed).permutation(len(data))[: 2 * MOST]
    half = len(order) // 2
    known, unseen = data.subset(order[:half]), data.subset(order[half : 2 * half])
    n = len(unseen)
    made = as_dataset(generate(run, n, seed=seed), run)
    numbers = len(run.model.latents) + run.model.auxiliary
    sets = {"model": made.x, "PCA": baseline(known.x, numbers, n), "measured": known.x}
    judged = judge_generation(made.x, known.x, unseen.x)
    attrs: dict[str, float | int] = {f"generation_{what}": v for what, v in judged.items()}
    components = Components.of(known.x)
    # The classifier is the model's alone: it costs more than all else here.
    energy = {k: energy_distance(components(x), components(unseen.x)) for k, x in sets.items()}
    attrs["generation_energy_ratio"] = energy["model"] / energy["measured"]
    attrs["generation_energy_pca"] = energy["PCA"] / energy["measured"]
    off = {name: np.abs(_apart(run, name, *pair)) for name, pair in control(run, seed).items()}
    attrs["generation_summaries"] = float(np.mean(list(summaries(run, made, unseen).values())))
    attrs |= {f"{name}_control": float(np.median(v)) for name, v in off.items()}
    two = Components.of(known.x, 2)
    scores = {f"scores_{k}": (("observation", "component"), two(v)) for k, v in sets.items()}
    return xr.Dataset(scores | {"x": ("observation", unseen.x.reshape(n, -1).mean(1))}, attrs=attrs)


def generation_metrics(run: Run, data: Dataset) -> dict[str, float]:
    """What ``compute_generation`` finds, by name; nothing where the data are not for that."""
    x = np.asarray(data.x)
    if len(x) < FEWEST or not _comparable(run, x):
        return {}
    return {str(k): float(v) for k, v in compute_generation(run, data).attrs.items()}


def _apart(run: Run, name: str, values: np.ndarray, measured: np.ndarray) -> np.ndarray:
    period = next(z.period for z in run.model.latents if z.name == name)
    return measured - values if period is None else difference(measured, values, period)


def _comparable(run: Run, x: np.ndarray) -> bool:
    """Whether ``x`` (observation, *event) can be compared with what the run generates."""
    known = run.population
    whole = bool(np.isfinite(x).all()) and float(np.ptp(x, axis=0).max()) > 0
    return known is not None and whole and tuple(x.shape[1:]) == known.event


@registered
class Generation(Check):
    """Whether what the model makes up can be told from what was measured."""

    name, title, subject = "generation", "Generation", "generation"
    alternative = "Measured and generated observations in two principal components."
    caption = (
        "Dots are observations: where generated ones lie apart from measured ones, the model makes "
        "what there is not, or misses what there is. Orange ones are of a normal in as many "
        "principal components as the model has numbers."
    )
    needs = (
        Condition(lambda c: c.run.population is not None),
        Condition(
            lambda c: _comparable(c.run, c.x),
            "the data have gaps, do not vary or are on another grid",
        ),
        Condition(lambda c: len(c.x) >= FEWEST, f"fewer than {FEWEST} observations"),
    )
    fewest = FEWEST // 2
    good, doubtful = 0.55, 0.65  # accuracy of the classifier
    measured = "generation_accuracy"
    sentences = {
        "good": "A classifier tells what the model makes up from what was measured in "
        "{percent:.0f} % of cases, where guessing gives 50 %.",
        "bad": "A classifier tells what the model makes up from what was measured in "
        "{percent:.0f} % of cases: do not take generated observations for measured ones.",
    }
    metric_words = {
        "generation_energy": "energy distance of generated to unseen measured ones ({unit})",
        "generation_energy_ratio": "the same over that of other measured ones; 1 is perfect",
        "generation_energy_pca": "the same ratio of a normal in as many principal components",
        "generation_frechet": "Frechet distance of generated to unseen ones in 20 components",
        "generation_accuracy": "of a classifier that tells generated from measured; 0.5 is perfect",
        "generation_accuracy_low": "lower end of its 95 % interval",
        "generation_accuracy_high": "upper end of its 95 % interval",
        "generation_summaries": "Wasserstein distance of what is measured without a model (period, "
        "decay, range, axes), over its spread, mean",
        "{latent}_control": "median distance of what is measured from what was set ({unit})",
        "generation_nearest": "distance of generated ones to the nearest measured one over that of "
        "measured ones; far below 1 they are copies",
    }

    def compute(self, context: Context) -> xr.Dataset:
        data = observations_of(context.inference_data, context.run.model.system)
        return compute_generation(context.run, data)

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return {str(k): float(v) for k, v in result.attrs.items()}

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        axes = grid[0, 0]
        shown = {"PCA": CYCLE[4], "measured": DATA, "model": FULL}
        for name, colour in shown.items():
            first, second = result[f"scores_{name}"].values.T
            axes.plot(first, second, "o", ms=2.5, alpha=0.5, color=colour, label=name)
        axes.set(xlabel="first principal component", ylabel="second")
        axes.legend(markerscale=2)
        accuracy = 100 * result.attrs["generation_accuracy"]
        return f"A classifier tells generated from measured in {accuracy:.0f} % of cases"
