"""Do bands of whole strides hold, and intervals of what is read off a stride?

``python benchmarks/gait.py --root DIR --run RUN [RUN ...]`` judges fitted runs on the validation
and test strides, which no weight was fitted to. One line of JSON a run. A stride is held by a
simultaneous 90 % band where all of its 303 samples lie inside: the band is the middle of the
predictive draws and so many of their standard deviations that 90 % of the draws lie inside as a
whole. Range of motion and time of the peak of each joint are read off the data and off every draw.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from groundvae.cli.source import default_splits
from groundvae.data.dataset import Dataset
from groundvae.data.gait import JOINTS
from groundvae.data.measurement import measure_gait
from groundvae.diagnostics.decomposition import compute_decomposition
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, load_run
from groundvae.models.ownfile import find_system

DRAWS = 400
LEVELS = {"50": 0.5, "90": 0.9}
DERIVED = [f"{joint}_{what}" for joint in JOINTS for what in ("range", "peak")]


def simultaneous(draws: np.ndarray, x: np.ndarray, level: float) -> np.ndarray:
    """Whether each observation (observation, ...) lies as a whole inside its band, bool.

    ``draws`` (draw, observation, ...). Half of them set the band's middle and spread, the other
    half how far from it whole draws lie, so that a draw does not judge itself.
    """
    first, second = draws[::2], draws[1::2]
    middle, spread = first.mean(0), first.std(0) + 1e-12
    axes = tuple(range(1, x.ndim))
    apart = (np.abs(second - middle) / spread).max(tuple(a + 1 for a in axes))
    width = np.quantile(apart, level, axis=0)
    return np.asarray((np.abs(x - middle) / spread).max(axes) <= width)


def within(draws: np.ndarray, truth: np.ndarray, level: float) -> float:
    """Share of ``truth`` (observation,) inside central intervals of ``draws`` (draw, observation).

    Times of a peak are whole samples: draws equal to the truth count by half on either side.
    """
    below = (draws < truth).mean(0) + 0.5 * (draws == truth).mean(0)
    return float((np.abs(below - 0.5) <= level / 2).mean())


def judge(run: Run, data: Dataset) -> dict[str, float]:
    """Shares held, and how much of the angles' variance mechanics alone explain."""
    options = PosteriorOptions(draws=DRAWS, predictive_draws=DRAWS)
    drawn = posterior(run, data, options)
    draws = drawn["posterior_predictive"]["x"].values[0]
    found = {"band90": _pointwise(draws, data.x)}
    for name, level in LEVELS.items():
        held = simultaneous(draws, data.x, level)
        found[f"simultaneous{name}"] = float(held.mean())
        for i, joint in enumerate(JOINTS):
            one = simultaneous(draws[..., i : i + 1], data.x[..., i : i + 1], level)
            found[f"simultaneous{name}_{joint}"] = float(one.mean())
    truth = measure_gait(data)
    each = [measure_gait(Dataset(draw, data.coordinates)) for draw in draws]
    for name in DERIVED:
        values = np.stack([one[name] for one in each])
        found |= {f"{name}{k}": within(values, truth[name], v) for k, v in LEVELS.items()}
    middle = draws.mean(0)
    found["sse"] = float(np.square(middle - data.x).sum((1, 2)).mean())
    alone = drawn["physics_predictive"]["x"].values[0].mean(0)
    shares = compute_decomposition(data.x, {"physics": alone, "full": middle})["pooled"]
    return found | {f"share_{p}": float(shares.sel(part=p)) for p in shares["part"].values}


def _pointwise(draws: np.ndarray, x: np.ndarray) -> float:
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return float(((low <= x) & (x <= high)).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--run", type=Path, nargs="+", required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    splits = default_splits(find_system("gait"), chosen.root)
    for path in chosen.run:
        run = load_run(path)
        for part in ("valid", "test"):
            figures = judge(run, getattr(splits, part))
            print(json.dumps({"run": path.name, "strides": part} | figures), flush=True)
