"""Processor and graphics card side by side: fits, searches and posteriors of the pendulum.

    python benchmarks/device.py --devices cpu cuda

Takes about two minutes. Rows: seconds of each device; the numbers of both are compared.
"""

from __future__ import annotations

import argparse
import runpy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "run.py"))["expose_checkout"]()

import numpy as np
import torch

from groundvae.inference.fit import Means, execute, prepare
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run
from groundvae.models.ownfile import find_system

SIMULATE = find_system("pendulum").source.simulate


def fit(variant: str, guide: str | None, steps: int, n: int, batch: int, device: str) -> Run:
    """A fit of so many steps (rounds) on ``n`` series."""
    recipe = find_system("pendulum").variant(variant).recipe
    options = replace(recipe.options, steps=steps, batch_size=batch, validate_every=steps)
    whole = replace(recipe, options=options)
    data = SIMULATE(n, 1)
    run = prepare("pendulum", data, variant=variant, recipe=whole, guide=guide)
    return execute(run, data, SIMULATE(50, 2), Means(device))


def timed(device: str, work: Callable[[], object]) -> tuple[float, object]:
    """Seconds until all is computed, and what."""
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    wait()
    begin = time.perf_counter()
    found = work()
    wait()
    return time.perf_counter() - begin, found


def rows(device: str, scale: int) -> dict[str, tuple[float, float]]:
    """Seconds of each kind of work, and a number that it came to."""
    found = {}
    torch.zeros(1, device=device)  # the card's own start is not timed
    seconds, run = timed(device, lambda: fit("hybrid-evidence", None, 14, 100, 100, device))
    assert isinstance(run, Run)
    found["evidence: 14 rounds, 100 series"] = seconds, run.fit.best_elbo
    for n in (200, 200 * scale):
        options = PosteriorOptions(draws=500, predictive_draws=100, block=min(n, 1000))
        seconds, drawn = timed(device, lambda n=n, o=options: draws(run, n, o, device))
        found[f"modes, 500 draws of {n} series"] = seconds, drawn
    seconds, other = timed(
        device, lambda: fit("hybrid-told", "structured-normal", 10, 1000, 500, device)
    )
    assert isinstance(other, Run)
    found["hybrid-told: 10 steps of 500 series"] = seconds, other.fit.best_elbo
    options = PosteriorOptions(draws=500, predictive_draws=100, block=1000)
    seconds, drawn = timed(device, lambda: draws(other, 1000, options, device))
    found["networks, 500 draws of 1,000 series"] = seconds, drawn
    return found


def draws(run: Run, n: int, options: PosteriorOptions, device: str) -> float:
    """The mean of omega over series and draws."""
    found = posterior(run.to(device), SIMULATE(n, 3), options)
    return float(np.mean(found["posterior"]["omega"].values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    usual = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser.add_argument("--devices", nargs="+", default=usual)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scale", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no graphics card"
    print(f"{asked.threads} processor threads; {card}; torch {torch.__version__}")
    for device in asked.devices:
        for name, (seconds, number) in rows(device, asked.scale).items():
            print(f"{name:40} {device:>5} {seconds:8.2f} s   came to {number:.6g}", flush=True)


if __name__ == "__main__":
    main()
