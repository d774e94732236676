"""What can be typed: every command and its options. None of what does them is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from groundvae.cli.usual import usual_options
from groundvae.guides.options import GuideOptions
from groundvae.inference.options import PosteriorOptions
from groundvae.models.recipe import FitOptions

Options = Annotated[PosteriorOptions, tyro.conf.arg(name="")]

# What several commands take.
arg, Positional = tyro.conf.arg, tyro.conf.Positional
SystemName = Annotated[
    str, Positional, arg(metavar="SYSTEM", help="Name of the system, see `list`.")
]
RunFolder = Annotated[Path, Positional, arg(metavar="RUN", help="Folder that `fit` wrote.")]
Root = Annotated[
    Path | None, arg(help="Folder of measured data, of systems that have them; see `data`.")
]
Refuse = Annotated[bool, arg(help="Stop if samples are missing (NaN) instead of masking them.")]
Device = Annotated[str, arg(help="Where to compute, cpu or cuda.")]
WHO = """Who does it: local:N, so many processes of this machine; tcp://HOST:PORT, the workers of a
Dask scheduler; or none, this process alone."""
Cluster = Annotated[str, arg(help=WHO)]
COUNT = "Processor threads; default one, or a few where observations are large."
Threads = Annotated[int | None, arg(help=COUNT)]


@dataclass(frozen=True)
class Reading:
    """How a data file is read."""

    columns: tuple[str, ...] = ()
    """Names of a table's own: 'observation=Subject' 'time=Time' 'value=conc', also channel; several
    values, 'value=prey,predator', are channels."""
    window: float | None = None
    """Cut records into windows of so many seconds, each an observation that starts in the middle
    of a motion."""


Read = Annotated[Reading, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Simulate:
    """Simulate observations of a system, true latents included; or generate from a fitted run."""

    system: SystemName
    out: Path | None = None
    """The .npz file to write: x, t and the true latents; or a .png, of images (the default with
    --run: RUN/sheet.png) and with --run of anything; with --run a .nc as well."""
    n: int | None = None
    """Number of observations; default 1000, and 8 on the way of --vary or between two."""
    seed: int = 1
    """Same seed, same file. The defaults train on 1, validate on 2 and test on 3."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """A fitted run to generate from, instead of the system's own simulator."""
    set: tuple[str, ...] = ()
    """With --run: physics latents at chosen values, such as 'position_angle=0.5'."""
    origin: Annotated[Literal["population", "prior"] | None, tyro.conf.arg(name="from")] = None
    """With --run: what latents are drawn from; default the population, where the run holds one.
    Those that are not set come from their conditional given the others."""
    vary: tuple[str, ...] = ()
    """With --run: a physics latent moved evenly along a way, such as 'omega=1:3'."""
    like: tuple[int, ...] = ()
    """With --run: the latents of this observation, counted from 0; of two, those between them."""
    data: Path | None = None
    """With --like: the file that holds it; default the system's own test data."""
    root: Path | None = None
    """With --like: folder of measured data, for systems that have them."""
    noise: bool = True
    """With --run: whether a data file holds the observations with the noise of the model."""


@dataclass(frozen=True)
class New:
    """Write a commented file that declares a system, and runs as it is."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The .py file to write."""
    kind: Literal["ode", "pde", "image", "function"] = "ode"
    """A law of motion, a field on a line, images of a formula, or a closed formula."""


@dataclass(frozen=True)
class Check:
    """Find the usual mistakes before a fit: of a law, its priors, its solver and its data."""

    system: SystemName
    data: Path | None = None
    """A data file (CSV, Parquet, npz, netCDF, Zarr) to check against. Without: the system's own
    training data."""
    root: Root = None
    variant: str = ""
    """hybrid-evidence, physics-only, hybrid-reg, ... (see `list`); default the usual one."""
    prior: tuple[str, ...] = ()
    """Priors to swap, such as 'omega=LogNormal(0.5, 0.4)'."""
    draws: int = 500
    """Draws of the prior."""
    seed: int = 0
    """Of the draws, and of the residual that is not fitted yet."""
    out: Path | None = None
    """The figure to write, a .png; a .svg appears beside it. Default SYSTEM-prior.png."""
    threads: Threads = None
    reading: Read = field(default_factory=Reading)


@dataclass(frozen=True)
class Fit:
    """Fit a grey-box model and its guide to observations, and save the run."""

    system: SystemName = ""
    data: Path | None = None
    """A data file (CSV, Parquet, npz, netCDF, Zarr) to fit; a fifth of it validates. Without: the
    system's own simulated data."""
    root: Root = None
    variant: str = ""
    """hybrid-evidence, physics-only, hybrid-reg (with the penalties), ... (see `list`); the default
    is the system's usual one."""
    guide: str | None = None
    """Structure and family of the posterior, see `list`; the default is the system's usual one."""
    guide_options: Annotated[GuideOptions, tyro.conf.arg(name="guide")] = field(
        default_factory=GuideOptions
    )
    prior: tuple[str, ...] = ()
    """Priors to swap, such as 'omega=LogNormal(0.5, 0.4)'. Hierarchical: 'omega=LogNormal(mu, s)'
    'mu=Normal(0.5, 1)' 's=HalfNormal(0.5)'."""
    priors_file: Annotated[Path | None, tyro.conf.arg(name="priors")] = None
    """A TOML file of priors, a line each: omega = "LogNormal(0.5, 0.4)"; `--prior` goes first."""
    loss: str | None = None
    """exact, regularized or paper; the default is regularized for hybrid-reg, else exact."""
    weight: tuple[str, ...] = ()
    """Weights of penalties to change, such as ppc=0.001; 0 switches one off."""
    refuse_missing: Refuse = False
    device: Device = "cpu"
    cluster: Cluster = "none"
    threads: int | None = None
    """Processor threads; default one, or a few where observations are large. The same numbers come
    back only under the same count."""
    out: Path | None = None
    """Folder of the run; default runs/SYSTEM."""
    overwrite: bool = False
    """Replace a run that is there already; one that ended well only by one that does too."""
    resume: Path | None = None
    """Go on with a fit that was stopped, from the last checkpoint in its folder, with all that
    it was begun with."""
    options: Annotated[FitOptions, tyro.conf.arg(name="")] = field(default_factory=usual_options)
    reading: Read = field(default_factory=Reading)


@dataclass(frozen=True)
class Posterior:
    """Infer the latents of observations: an ArviZ InferenceData as NetCDF or Zarr."""

    run_folder: RunFolder
    data: Path
    """The data file with the observations."""
    out: Path
    """The .nc file to write; or a .zarr folder: block by block, for more than the memory holds, and
    gone on with where it was stopped."""
    reprior: tuple[str, ...] = ()
    """Priors to put in place of the fitted ones without a refit: 'omega=LogNormal(0.5, 0.3)'."""
    prior: Literal["own", "population"] = "own"
    """Under the run's own priors, or under the population that its fit learned: draws are weighted
    by the ratio of the two. Of observations that were fitted, data then count twice."""
    weighted: bool = False
    """Weight the guide's draws by the model (Pareto-smoothed), observation by observation."""
    refine: int | None = None
    """Train the guide further for these observations alone, by so many steps; RUN is kept."""
    nuts: int | None = None
    """Sample by NUTS on the fitted model, in so many chains; takes minutes for a handful."""
    warmup: int = 300
    """Draws of each chain of NUTS before those that are kept (`--draws` of each chain)."""
    mix: tuple[Path, ...] = ()
    """Further runs of the same system: draws of all, each run weighted by stacking."""
    held_out: Path | None = None
    """With `--mix`: the data file whose density weighs the runs; default the system's own
    validation data."""
    only: tuple[int, ...] = ()
    """Which observations, counted from 0; default all."""
    refuse_missing: Refuse = False
    device: Device = "cpu"
    cluster: Cluster = "none"
    threads: Threads = None
    options: Options = field(default_factory=PosteriorOptions)
    reading: Read = field(default_factory=Reading)


@dataclass(frozen=True)
class Predict:
    """Predict under interventions and beyond the data's last time, as NetCDF or Zarr."""

    run_folder: RunFolder
    data: Path
    """The data file with the observations to infer from."""
    out: Path
    """The .nc file to write, or a .zarr folder, as for `posterior`."""
    do: tuple[str, ...] = ()
    """Changes of latents after they are inferred: 'omega*=2', 'omega+=0.1' or 'omega=1.5'."""
    until: float | None = None
    """Predict up to this time in seconds."""
    refuse_missing: Refuse = False
    device: Device = "cpu"
    cluster: Cluster = "none"
    threads: Threads = None
    options: Options = field(default_factory=PosteriorOptions)
    reading: Read = field(default_factory=Reading)


@dataclass(frozen=True)
class Diagnose:
    """Measure a run on held-out observations: metrics.json, figures, report.html."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder that `fit` wrote; the results go there too."""
    data: Path | None = None
    """A data file to measure on; none beside `--posterior`. Without: the system's own test data,
    simulated or measured."""
    root: Root = None
    posterior: Path | None = None
    """Draws of this run that `posterior` or --keep-posterior stored (.nc), in place of new ones."""
    keep_posterior: bool = False
    """Store the posterior as RUN/posterior.nc as well, and that of --nuts as RUN/nuts.nc."""
    nuts: int = 0
    """Compare the guide with NUTS on so many of the observations; takes minutes."""
    device: Device = "cpu"
    cluster: Cluster = "none"
    against: Path | None = None
    """Another run of the same physics: what does it say otherwise?"""
    show: tuple[int, ...] = ()
    """Observations to draw and to tell about, counted from 0, beside the worst ones."""
    threads: Threads = None
    options: Options = field(default_factory=PosteriorOptions)
    reading: Read = field(default_factory=Reading)


@dataclass(frozen=True)
class Compare:
    """Fit and measure every combination; goes on where it stopped; writes a table, a figure."""

    system: SystemName
    out: Path
    """Folder for the runs and the tables."""
    variants: tuple[str, ...] = ()
    """Variants to cross; the default is all that the system has."""
    guides: tuple[str, ...] = ()
    """Guides to cross; the default is the system's usual one."""
    priors: tuple[str, ...] = ("default",)
    """Priors to cross, each 'default' or such as 'omega=LogNormal(0.5, 0.4)'; several latents in
    one: 'omega=LogNormal(mu, 0.4); mu=Normal(0.5, 1)'."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds to cross; the tables give mean and standard deviation over them."""
    root: Root = None
    device: Device = "cpu"
    cluster: Cluster = "none"
    threads: Threads = None
    options: Annotated[FitOptions, tyro.conf.arg(name="")] = field(default_factory=usual_options)


@dataclass(frozen=True)
class Data:
    """Say what measured data of a system are found where, and what is missing."""

    system: SystemName
    root: Path | None = None
    """Folder to look in, instead of GROUNDVAE_DATA and the user's cache folder."""
    number: int | None = None
    """The class to take, where measured data come in classes (galaxy: those of Galaxy10)."""
    out: Path | None = None
    """Write what is found as one data file, .npz, to be fitted with `fit --data`."""


@dataclass(frozen=True)
class List:
    """List the systems with their latents and variants, guides, penalties and losses; or a run."""

    run_folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None
    """A run to tell about instead: what was fitted, and under which priors."""


Command = (
    Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[New, tyro.conf.subcommand("new")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Posterior, tyro.conf.subcommand("posterior")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Diagnose, tyro.conf.subcommand("diagnose")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[List, tyro.conf.subcommand("list")]
)
