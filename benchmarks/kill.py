"""Kill a fit at random moments, go on each time, and compare its end with one that nobody killed.

    python benchmarks/kill.py --kills 50 --out kills

Prints, of every kill, how far the fit was, and in the end whether the weights are equal to the last
bit. The exit code is 1 where a run was unreadable, half a minute was lost, or they differ.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "run.py"))["expose_checkout"]()

from groundvae.data.errors import InputError
from groundvae.inference.checkpoint import FILE, Checkpoint
from groundvae.inference.run import load_run

ROOT = Path(__file__).resolve().parents[1]
LOST = 30.0  # seconds of work that a kill may cost


@dataclass(frozen=True)
class Kill:
    """What to fit, and how often to kill it."""

    out: Path
    """A new folder."""
    kills: int = 50
    seed: int = 0
    """Of the moments."""
    arguments: tuple[str, ...] = (
        *("pendulum", "--variant", "hybrid-told"),
        *("--steps", "400", "--threads", "1"),
    )
    """Of the fit."""


def fit(*arguments: str | Path, after: float | None = None) -> bool:
    """Run the command ``fit``; False if it was killed ``after`` so many seconds."""
    command = [sys.executable, str(ROOT / "run.py"), "fit", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    ) as process:
        try:
            if process.wait(after) != 0:
                raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
            return True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
    return False


def where(folder: Path) -> tuple[float, str]:
    """Seconds of work that a folder holds, and how that is told; what is unreadable is an error."""
    if (folder / FILE).is_file():
        values = Checkpoint.read(folder).values
        return values["seconds"], f"step {values['fit']['steps']}"
    if (folder / "config.json").is_file():
        return load_run(folder).fit.seconds, "ended"
    return 0.0, "not begun"


def main(options: Kill) -> int:
    """Kill, resume, compare; the exit code."""
    whole, out = options.out / "whole", options.out / "killed"
    start = time.monotonic()
    fit(*options.arguments, "--out", whole)
    took = time.monotonic() - start
    rng = np.random.default_rng(options.seed)
    worst, killed = 0.0, 0
    while killed < options.kills:
        moment = rng.uniform(0, min(took, 60.0))
        going_on = (out / FILE).is_file()
        arguments = ("--resume", out) if going_on else (*options.arguments, "--out", out)
        overwrite = () if going_on else ("--overwrite",)
        before = where(out)[0] if going_on else 0.0
        ended = fit(*arguments, *(overwrite if out.is_dir() else ()), after=float(moment))
        try:
            held, told = where(out)
        except InputError as error:
            print(f"unreadable: {error}")
            return 1
        lost = 0.0 if ended else max(0.0, moment - max(held - before, 0.0))
        worst, killed = max(worst, lost), killed + (not ended)  # one that ended met no kill
        print(
            f"{killed}/{options.kills} after {moment:.1f} s: {told}, at most {lost:.1f} s lost",
            flush=True,
        )
    if (out / FILE).is_file():
        fit("--resume", out)
    elif not (out / "config.json").is_file():
        fit(*options.arguments, "--out", out)
    name = "weights.safetensors"
    equal = (out / name).read_bytes() == (whole / name).read_bytes()
    print(json.dumps({"equal": equal, "most_seconds_lost": worst, "kills": killed}))
    return 0 if equal and worst <= LOST else 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Kill)))
