"""``simulate``: write observations with known latents, from a system or from a fitted run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from groundvae.cli.acceptance import IMAGE_RANK
from groundvae.cli.commands import Simulate
from groundvae.cli.console import note, say
from groundvae.cli.source import default_splits, once, read_data, simulated
from groundvae.data.atomic import check_writable
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.root import STAND_IN
from groundvae.diagnostics.contactsheet import SHOWN, plot_contact_sheet
from groundvae.diagnostics.generated import Along, plot_generated
from groundvae.diagnostics.style import save_figure
from groundvae.inference import arviz as az
from groundvae.inference.generation import as_dataset, generate
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.run import Run, load_run
from groundvae.models.catalogue import Entry
from groundvae.models.intervention import parse_intervention
from groundvae.models.ownfile import find_system

MANY, ALONG = 1000, 8
"""Observations where nobody says how many; likewise on a way."""


def run(asked: Simulate) -> None:
    entry = find_system(asked.system)
    if (asked.n is not None and asked.n < 1) or asked.seed < 0:
        raise InputError("--n must be 1 or more and --seed 0 or more")
    out = _named(asked, entry)
    n = asked.n or (ALONG if asked.vary or len(asked.like) == 2 else MANY)
    if asked.run_folder is None:
        _from_simulator(asked, entry, n, out)
    else:
        _from_run(asked, n, out)
    say(f"wrote {n} observations of {asked.system} to {out}")


def _named(asked: Simulate, entry: Entry) -> Path:
    """Where to write."""
    images, fitted = len(entry.system.axes) == IMAGE_RANK, asked.run_folder is not None
    out = asked.out
    if out is None and images and asked.run_folder is not None:
        out = asked.run_folder / "sheet.png"
    if out is None:
        raise InputError("simulate writes a file, expected --out FILE.npz")
    if out.suffix == ".png" and not images and not fitted:
        raise InputError(f"{out}: {asked.system} has no images, expected .npz")
    if out.suffix not in (".npz", ".png", *([".nc"] if fitted else [])):
        more = ", or with --run .nc" if not fitted else ", .nc"
        raise InputError(f"{out}: expected a name that ends in .npz, or .png for a figure{more}")
    check_writable(out)
    return out


def _from_simulator(asked: Simulate, entry: Entry, n: int, out: Path) -> None:
    """What the system's own simulator makes."""
    typed = {"--set": asked.set, "--vary": asked.vary, "--like": asked.like, "--from": asked.origin}
    for option, value in typed.items():
        if value:
            raise InputError(f"{option} needs a fitted run to generate from, expected --run")
    data = simulated(entry, n, asked.seed)
    if entry.source.splits is not None:
        note(f"WARNING: {asked.system}: {STAND_IN}, nothing of it is measured")
    if out.suffix == ".npz":
        data.save(out)
    else:
        title = f"{min(n, SHOWN)} images of the simulator"
        save_figure(plot_contact_sheet(data.x, title), out)


def _from_run(asked: Simulate, n: int, out: Path) -> None:
    """What a fitted model makes."""
    assert asked.run_folder is not None
    run = load_run(asked.run_folder)
    if run.config.system != asked.system:
        raise InputError(f"{asked.run_folder}: is a run of {run.config.system}")
    origin = asked.origin or ("prior" if run.population is None else "population")
    if asked.origin is None and run.population is None and not asked.like:
        note(f"{asked.run_folder} holds no population: latents are drawn from the priors")
    setting = once("--set", (_setting(text) for text in asked.set))
    ways = once("--vary", (_way(text) for text in asked.vary))
    moved = {name: np.linspace(low, high, n) for name, (low, high) in ways.items()}
    once("--set and --vary", [(name, 0.0) for name in (*setting, *ways)])
    like = _observations(asked, run)
    chosen: dict[str, float | np.ndarray] = dict(setting)
    chosen |= moved
    made = generate(run, n, seed=asked.seed, origin=origin, chosen=chosen, like=like)
    if out.suffix == ".npz":
        as_dataset(made, run, noise=asked.noise).save(out)
    elif out.suffix == ".nc":
        save_inference_data(made, out)
    else:
        what = _told(asked, origin, setting)
        save_figure(plot_generated(run, made, what, _along(run, made, ways)), out)


def _observations(asked: Simulate, run: Run) -> Dataset | None:
    """Those that ``--like`` names."""
    if not asked.like:
        return None
    if len(asked.like) > 2:
        raise InputError(f"--like names {len(asked.like)} observations, expected one or two")
    if len(asked.like) == 2 and asked.vary:
        raise InputError("--vary moves a latent of one observation, --like names two")
    if asked.data is not None:
        data = read_data(asked.data, run.entry)
    else:
        data = default_splits(run.entry, asked.root).test
    wrong = [i for i in asked.like if not 0 <= i < len(data)]
    if wrong:
        raise InputError(f"--like names observation {wrong[0]}, the data have 0 .. {len(data) - 1}")
    return data.subset(np.array(asked.like))


def _told(asked: Simulate, origin: str, setting: dict[str, float]) -> str:
    """What was asked for, in words."""
    where = f"from the {origin}"
    if asked.like:
        where = " and ".join(f"observation {i}" for i in asked.like)
        where = f"between {where}" if len(asked.like) == 2 else f"like {where}"
    given = ", ".join(f"{name} = {value:g}" for name, value in setting.items())
    return f"{asked.system} {where}" + (f" at {given}" if given else "")


def _along(run: Run, made: az.InferenceData, ways: dict[str, tuple[float, float]]) -> Along | None:
    """The latent that is varied."""
    if not ways:
        return None
    name = next(iter(ways))
    unit = next(z.unit for z in run.model.latents if z.name == name)
    return Along(name, unit, made["prior"][name].values[0])


def _setting(text: str) -> tuple[str, float]:
    name, change = parse_intervention(text)
    if change.factor:
        raise InputError(f"--set {text!r} cannot be read, expected NAME=NUMBER")
    return name, change.shift


def _way(text: str) -> tuple[str, tuple[float, float]]:
    """A latent and the ends of its way.

    >>> _way("omega=1:3")
    ('omega', (1.0, 3.0))
    """
    name, _, ends = text.partition("=")
    low, _, high = ends.partition(":")
    try:
        way = float(low), float(high)
    except ValueError as error:
        raise InputError(f"--vary {text!r} cannot be read, expected NAME=LOW:HIGH") from error
    if not np.isfinite(way).all():
        raise InputError(f"--vary {text!r} cannot be read, expected finite numbers")
    return name.strip(), way
