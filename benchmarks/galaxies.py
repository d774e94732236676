"""Do intervals of galaxies hold? Measured images, and known discs rendered over the sky.

``python benchmarks/galaxies.py measured --root DIR --seed 0 --out RUN`` fits the default to
measured images and compares its posteriors of those not fitted (validation and test) with axes
measured from isophotes, and with the same model under white noise; ``--run RUN`` in place of a fit
measures one again. ``rendered --root DIR --run RUN`` makes a second truth: discs of exact latents,
with arms, dust, bars, bulges and neighbours that the model does not know, over what RUN left of
measured images; the default is fitted to 400 of them, and judged on 200 others, over what it left
of other measured images; ``--set`` makes others. One line of JSON each.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch.nn import functional

from groundvae.cli.data import joined
from groundvae.cli.source import default_splits
from groundvae.data.dataset import Dataset
from groundvae.data.galaxy import SIDE, coordinates
from groundvae.diagnostics.evidence import compute_evidence
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.guides.phase import Ending
from groundvae.inference.fit import fit
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, load_run
from groundvae.models.circle import difference, mean_direction
from groundvae.models.noises import Gaussian
from groundvae.models.ownfile import find_system
from groundvae.models.symmetry import turned
from groundvae.physics.galaxy import PERIOD, blurred, disc, elliptic_radius, positions, rotated

TINT = np.log([1.15, 1.0, 0.85])  # of the bands, on average
LEVEL = 0.03  # of the sky
FINER = 3  # times, the grid that discs are rendered on
SEEING = torch.tensor(0.6 * FINER)  # pixels of that grid
PERIODS = {"position_angle": PERIOD}


@dataclass(frozen=True)
class Hosts:
    """Measured images: the latents (image,) that a run infers, and what it leaves of them.

    ``left`` (image, row, column, band).
    """

    latents: dict[str, torch.Tensor]
    left: torch.Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, run: Run, data: Dataset) -> Hosts:
        """At one draw of each image's posterior."""
        few = PosteriorOptions(draws=2, predictive_draws=2)
        drawn = posterior(run, data, few)["posterior"]
        latents = {str(k): torch.as_tensor(v.values[0, 0]) for k, v in drawn.items()}
        batch, auxiliary = run.batch(data), latents.pop("z_aux")
        mean = run.model.decode(latents, auxiliary, batch.inputs, reduced=False).full
        return cls(latents, batch.x - mean)


def render(n: int, seed: int, hosts: Hosts) -> Dataset:
    """Discs like those of ``hosts`` with structure, over what was left of these.

    What was left is turned with the disc, so that the structure of a host stays along its axis;
    half of them are flipped. The disc and all on it are seen through the air: on a grid three
    times finer, blurred, then summed over pixels.
    """
    rng = np.random.default_rng(seed)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.as_tensor(rng.uniform(low, high, (n, 1, 1)), dtype=torch.float32)

    picked = torch.as_tensor(rng.integers(len(hosts.left), size=n))
    host = {name: value[picked].view(-1, 1, 1) for name, value in hosts.latents.items()}
    truth = {
        "intensity": host["intensity"] * uniform(0.75, 1.0),  # within its prior, as all are
        "semi_axis": host["semi_axis"] * uniform(0.85, 1.15),
        "ellipticity": (1 - (1 - host["ellipticity"]) * uniform(0.85, 1.15)).clamp(min=0.05),
        "position_angle": uniform(0.0, math.pi),
    }
    flipped = torch.as_tensor(rng.uniform(size=n) < 0.5)
    before = host["position_angle"].flatten()
    before = torch.where(flipped, -before, before)
    sky = turned(hosts.left[picked], truth["position_angle"].flatten() - before, flipped)
    shift = torch.as_tensor(rng.normal(0, 0.02, (2, n, 1, 1)), dtype=torch.float32)
    at = _fine().unsqueeze(1) - shift
    light = disc(at, *truth.values()) * _arms(at, truth, uniform) * _dust(at, truth, uniform)
    light = functional.avg_pool2d(blurred(light + _centre(at, truth, uniform), SEEING), FINER)
    tint = torch.as_tensor(np.exp(TINT + 0.06 * rng.normal(size=(n, 1, 1, 3))), dtype=torch.float32)
    image = LEVEL + light.unsqueeze(-1) * 3 * tint / tint.sum(-1, keepdim=True)
    known = {name: value.flatten().numpy().astype(float) for name, value in truth.items()}
    return Dataset((image + _neighbours(n, rng) + sky).numpy(), coordinates(SIDE), known)


def _fine() -> torch.Tensor:
    """Positions on the finer grid, (2, row, column): pixels reach beyond the middle of the last."""
    edge = SIDE / (SIDE - 1) * (1 - 1 / (SIDE * FINER))
    return edge * positions(SIDE * FINER)


def _frame(at, truth):  # type: ignore[no-untyped-def]
    along, across = rotated(at, truth["position_angle"])
    return along, across, elliptic_radius(along, across, truth["semi_axis"], truth["ellipticity"])


def _arms(at, truth, uniform):  # type: ignore[no-untyped-def]
    """Two spiral arms: a factor about 1."""
    along, across, radius = _frame(at, truth)
    around = torch.atan2(across / (1 - truth["ellipticity"]), along)
    phase = 2 * around - uniform(2, 5) * torch.log(radius + 0.3) + uniform(0, 2 * math.pi)
    return 1 + uniform(0, 0.3) * radius / (1 + radius) * torch.cos(phase)


def _dust(at, truth, uniform):  # type: ignore[no-untyped-def]
    """A lane along the major axis, beside the middle: a factor below 1."""
    _, across, radius = _frame(at, truth)
    minor = truth["semi_axis"] * (1 - truth["ellipticity"])
    lane = torch.exp(-0.5 * ((across / minor - uniform(-0.8, 0.8)) / uniform(0.2, 0.5)) ** 2)
    return 1 - uniform(0, 0.35) * lane * torch.exp(-((radius / 2) ** 2))


def _centre(at, truth, uniform):  # type: ignore[no-untyped-def]
    """A bar at an angle of its own, and a bulge."""
    along, across = rotated(at, truth["position_angle"] + uniform(-0.4, 0.4))
    size = truth["semi_axis"]
    bar = torch.exp(-0.5 * ((along / (0.5 * size)) ** 2 + (across / (0.2 * size)) ** 2))
    bulge = torch.exp(-0.5 * at.pow(2).sum(0) / (0.25 * size) ** 2)
    return truth["intensity"] * (uniform(0, 0.2) * bar + uniform(0, 0.2) * bulge)


def _neighbours(n: int, rng: np.random.Generator) -> torch.Tensor:
    """Up to two stars or small galaxies an image, of colours of their own."""
    x, y = positions(SIDE).numpy()
    found = np.zeros((n, SIDE, SIDE, 3), np.float32)
    for _ in range(2):
        far, way = rng.uniform(0.5, 1.2, (n, 1, 1)), rng.uniform(0, 2 * math.pi, (n, 1, 1))
        size = rng.uniform(0.03, 0.08, (n, 1, 1))
        spot = (x - far * np.cos(way)) ** 2 + (y - far * np.sin(way)) ** 2
        light = rng.uniform(0, 0.4, (n, 1, 1)) ** 2 * np.exp(-0.5 * spot / size**2)
        found += (light[..., None] * rng.uniform(0.7, 1.3, (n, 1, 1, 3))).astype(np.float32)
    return torch.as_tensor(found)


def intervals(run: Run, data: Dataset) -> dict[str, float]:
    """Coverage, error and calibration of every latent whose truth is known, and of the fit."""
    drawn = posterior(run, data, PosteriorOptions(draws=400, predictive_draws=100))
    found = compute_metrics(drawn, PERIODS)
    draws = drawn["posterior"]
    angle = mean_direction(np.concatenate(draws["position_angle"].values), PERIOD)
    off = np.abs(difference(angle, data.truth["position_angle"], PERIOD))
    found["position_angle_median_degrees"] = float(np.rad2deg(np.median(off)))
    ratio = 1 - draws["ellipticity"].mean(("chain", "draw")).values
    rank = spearmanr(ratio, 1 - data.truth["ellipticity"]).statistic
    return found | {"axis_ratio_rank_correlation": float(rank)}


def density(run: Run, data: Dataset) -> np.ndarray:
    """Log predictive density (image,) of images that were not fitted, nats."""
    drawn = posterior(run, data, PosteriorOptions(draws=50, predictive_draws=50))
    return np.asarray(compute_evidence(drawn["sample_stats"]["log_weight"])["iwae"].values)


def white(run: Run, train: Dataset) -> Run:
    """The same model and guide under white noise, its scale that of largest evidence."""
    twin = deepcopy(run)
    twin.model.noise = Gaussian(float(run.model.noise.scale))
    twin.guide.attach(twin.model)
    for _ in range(2):
        twin.guide.refit_noise(twin.batch(train.subset(slice(0, 100))))
    return twin


def whitening_seconds(run: Run, data: Dataset) -> dict[str, float]:
    """To whiten 100 images: the covariance known, and made anew each time; the best of five."""
    images = run.batch(data.subset(slice(0, 100))).x
    shape = images.shape[1:]
    covariance = run.model.noise.covariance(shape)

    def best(whiten: Callable[[], object]) -> float:
        seconds = []
        for _ in range(6):  # the first is slower
            begin = time.perf_counter()
            whiten()
            seconds.append(time.perf_counter() - begin)
        return min(seconds)

    with torch.no_grad():
        return {
            "whitening_100_seconds": best(lambda: covariance.whiten(images)),
            "whitening_100_anew_seconds": best(
                lambda: run.model.noise.covariance(shape).whiten(images)
            ),
        }


def fitted(train: Dataset, valid: Dataset, asked: argparse.Namespace) -> Run:
    """A fit of the default that went to its end, saved."""
    run = fit("galaxy", train, valid=valid, seed=asked.seed)
    run.save(asked.out)
    if run.fit.ending in (Ending.INTERRUPTED, Ending.DIVERGED):
        raise SystemExit(f"the fit ended early ({run.fit.stop}): no figures")
    return run


def measured(asked: argparse.Namespace) -> dict[str, float]:
    splits = default_splits(find_system("galaxy"), asked.root)
    begin = time.process_time()
    run = load_run(asked.run) if asked.run else fitted(splits.train, splits.valid, asked)
    figures = {"fit_seconds": run.fit.seconds, "fit_cpu_seconds": time.process_time() - begin}
    for name, data in (("valid", splits.valid), ("test", splits.test)):
        figures |= {f"{name}_{k}": v for k, v in intervals(run, data).items()}
    unseen = joined([splits.valid, splits.test])
    figures |= {f"unseen_{k}": v for k, v in intervals(run, unseen).items()}
    better = density(run, unseen) - density(white(run, splits.train), unseen)
    figures |= {"better_than_white": float((better > 0).mean()), "nats": float(np.median(better))}
    return figures | whitening_seconds(run, splits.train)


def rendered(asked: argparse.Namespace) -> dict[str, float]:
    splits = default_splits(find_system("galaxy"), asked.root)
    known = load_run(asked.run)
    hosts = Hosts.of(known, splits.train)
    first = 10 * asked.set
    train, valid = (render(n, first + i, hosts) for n, i in ((400, 1), (50, 2)))
    unseen = render(200, first + 3, Hosts.of(known, joined([splits.valid, splits.test])))
    run = fitted(train, valid, asked)
    return {"fit_seconds": run.fit.seconds} | intervals(run, unseen)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("measured", "rendered"))
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", type=int, default=0, help="which rendered images")
    parser.add_argument("--run", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/galaxies"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found = {"measured": measured, "rendered": rendered}[chosen.what](chosen)
    print(json.dumps({"what": chosen.what, "seed": chosen.seed, "set": chosen.set} | found))
