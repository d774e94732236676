"""Coverage of omega on other time grids than the fit's, and seconds of one long series.

    python benchmarks/grids.py RUN --n 150
    python benchmarks/grids.py RUN --long 10000 20000 30000

RUN is any run of the pendulum, fitted on 50 samples 0.05 s apart. The first prints, of ``--n``
fresh series on each grid, the share of true values inside 90 % and 50 % intervals, the error of the
mean and of the prediction (medians). The second prints seconds of the posterior of one series of so
many samples (the second time, so without imports): over the same 2.45 s, or with ``--apart`` 0.05 s
from each other.
"""

from __future__ import annotations

import argparse
import resource
import runpy
import time
from pathlib import Path

import numpy as np
import torch

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "run.py"))["expose_checkout"]()

from groundvae.data.dataset import Dataset
from groundvae.data.pendulum import RANGES, solve
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run, load_run

NOISE, STEP, END = 0.01, 0.05, 2.45
DRAWS = PosteriorOptions(draws=200, predictive_draws=20)
GRIDS = {
    "as fitted": STEP * np.arange(50),
    "twice as coarse": 2 * STEP * np.arange(25),
    "4 times as coarse": 4 * STEP * np.arange(13),
    "twice as fine": STEP / 2 * np.arange(100),
    "4 times as fine": STEP / 4 * np.arange(200),
    "half as long": STEP * np.arange(25),
    "twice as long": STEP * np.arange(100),
    "uneven": np.append(0.0, np.sort(np.random.default_rng(1).uniform(0, END, 49))),
}


def made(times: np.ndarray, n: int, seed: int = 3) -> Dataset:
    """``n`` fresh series (n, time) with their true latents."""
    rng = np.random.default_rng(seed)
    truth = {name: rng.uniform(*bounds, n) for name, bounds in RANGES.items()}
    x = solve(truth, times) + NOISE * rng.normal(size=(n, len(times)))
    return Dataset(x.astype(np.float32), {"t": times}, truth)


def coverage(run: Run, n: int) -> None:
    """A row for each grid."""
    for name, times in GRIDS.items():
        data = made(times, n)
        found = posterior(run, data, DRAWS)
        omega, true = found["posterior"]["omega"].values[0], data.truth["omega"]
        inside = []
        for share in (0.9, 0.5):
            low, high = np.quantile(omega, [(1 - share) / 2, (1 + share) / 2], axis=0)
            inside.append(float(((true > low) & (true < high)).mean()))
        error = np.median(np.abs(omega.mean(0) - true))
        missed = np.median(np.abs(found["posterior_predictive"]["x"].values[0].mean(0) - data.x))
        print(
            f"{name:>18}  cov90 {inside[0]:.3f}  cov50 {inside[1]:.3f}  omega off by {error:.4f} "
            f"rad/s  prediction by {missed:.4f} rad",
            flush=True,
        )


def long(run: Run, sizes: list[int], *, apart: bool) -> None:
    """A row for each number of samples; where ``apart``, each 0.05 s after the one before."""
    for size in sizes:
        times = STEP * np.arange(size) if apart else np.linspace(0, END, size)
        data = made(times, 1)
        for _ in range(2):
            begin = time.monotonic()
            posterior(run, data, PosteriorOptions())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        took = time.monotonic() - begin
        print(f"{size:>7} samples to {times[-1]:.0f} s: {took:6.2f} s, {peak:.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--n", type=int, default=150)
    parser.add_argument("--long", type=int, nargs="+", default=[])
    parser.add_argument("--apart", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    run = load_run(Path(asked.run))
    if asked.long:
        long(run, asked.long, apart=asked.apart)
    else:
        coverage(run, asked.n)


if __name__ == "__main__":
    main()
