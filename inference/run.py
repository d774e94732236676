"""The saved run: everything needed to use a fitted model again, in plain files.

``config.json`` (what was fitted), ``weights.safetensors`` (model and guide), ``history.csv``
(named terms over the fit), ``fit.json`` (seconds, memory, stop reason, versions). A run
that knows its data has ``reference.safetensors`` (``outofdistribution.py``). Nothing is pickled;
the folder appears whole or not at all.
"""

from __future__ import annotations

import csv
import json
import math
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from groundvae.data.atomic import check_writable
from groundvae.data.errors import InputError
from groundvae.guides.catalogue import build_guide
from groundvae.guides.guide import Guide
from groundvae.guides.options import GuideOptions, guide_options
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.outofdistribution import OutOfDistributionReference
from groundvae.inference.preset import build_loss
from groundvae.inference.schedule import FitOptions
from groundvae.inference.trainer import Fit
from groundvae.models.catalogue import Entry, find_system
from groundvae.models.greybox import GreyBox
from groundvae.models.prior import format_priors, parse_priors

FORMAT = 1
# What reading files that are not what they should be raises.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    SafetensorError,
    csv.Error,
)
REFERENCE_FILE = "reference.safetensors"
FILES = ("config.json", "weights.safetensors", "history.csv", "fit.json")


@dataclass(frozen=True)
class RunConfig:
    """What was fitted, in plain values."""

    system: str
    length: int  # samples of an observation that the guide's encoder reads
    variant: str = "hybrid-reg"
    guide: str = ""  # the system's usual one
    guide_options: GuideOptions = field(default_factory=GuideOptions)
    priors: Mapping[str, str] = field(default_factory=dict)  # and of hyperparameters
    loss: str = "regularized"
    weights: Mapping[str, float] = field(default_factory=dict)  # of penalties, where not preset
    options: FitOptions = field(default_factory=FitOptions)
    trained_on: str = ""
    format: int = FORMAT


@dataclass
class Run:
    """A fitted model and guide, and how they came to be."""

    config: RunConfig
    model: GreyBox
    guide: Guide
    fit: Fit = field(default_factory=Fit)
    ood_reference: OutOfDistributionReference | None = None

    def __post_init__(self) -> None:
        self.guide.attach(self.model)

    @property
    def entry(self) -> Entry:
        return find_system(self.config.system)

    def loss(self) -> RegularizedELBO:
        """The loss that the config names."""
        return build_loss(self.config.loss, self.config.weights)

    def save(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write the run; ``folder`` must be new unless ``overwrite``."""
        check_folder(folder, overwrite=overwrite)
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            self._write(fresh)
            fresh.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            fresh.replace(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _write(self, folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n")
        both = nn.ModuleDict({"model": self.model, "guide": self.guide})
        weights = {name: value.contiguous() for name, value in both.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        if self.ood_reference is not None:
            save_file(vars(self.ood_reference), folder / REFERENCE_FILE)
        columns = list(dict.fromkeys(key for row in self.fit.history for key in row))
        with (folder / "history.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(self.fit.history)
        facts = {k: v for k, v in asdict(self.fit).items() if k != "history"} | _versions()
        if not math.isfinite(self.fit.best_elbo):
            facts["best_elbo"] = None  # JSON has no infinity
        (folder / "fit.json").write_text(json.dumps(facts, indent=2) + "\n")


def new_run(config: RunConfig, priors: Mapping[str, TorchDistribution] | None = None) -> Run:
    """Build an unfitted run; parameters are drawn from the config's seed.

    ``priors`` are given as distributions, or stand in the config as text.
    """
    entry = find_system(config.system)
    config = replace(config, guide=config.guide or entry.guide)
    parsed = parse_priors(config.priors)
    torch.manual_seed(config.options.seed)
    model = entry.build(config.variant, parsed | dict(priors or {}))
    guide = build_guide(config.guide, model, config.length, config.guide_options)
    texts = format_priors({z.name: z.prior for z in model.latents})
    return Run(replace(config, priors=texts), model, guide)


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse to overwrite by accident, or to overwrite what is no run at all."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        check_writable(folder / "config.json")
        return
    if not overwrite:
        raise InputError(f"{folder}: exists already, expected a new folder or --overwrite")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: is not a run folder, so --overwrite leaves it alone")


def load_run(folder: Path) -> Run:
    """Read a run that ``Run.save`` wrote.

    Raises:
        InputError: no such run, damaged, or written by another version.

    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: is no complete run folder, {missing[0]} is missing")
    try:
        values = json.loads((folder / "config.json").read_text())
        written = values["format"]
        if written == FORMAT:
            return _read_run(folder, values)
    except DAMAGE as error:
        raise InputError(f"{folder}: the run is damaged ({_brief(error)})") from error
    raise InputError(f"{folder}: was written in format {written}, expected {FORMAT}; fit again")


def _read_run(folder: Path, values: dict[str, Any]) -> Run:
    options = FitOptions(**values.pop("options"))
    sizes = guide_options(values.pop("guide_options", {}))  # absent from the first runs
    run = new_run(RunConfig(**values, options=options, guide_options=sizes))
    weights = load_file(folder / "weights.safetensors")
    wrong = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if wrong:
        raise ValueError(f"the weights of {wrong[0]} are not finite")
    nn.ModuleDict({"model": run.model, "guide": run.guide}).load_state_dict(weights)
    run.fit = _read_fit(folder)
    if (folder / REFERENCE_FILE).is_file():
        run.ood_reference = OutOfDistributionReference(**load_file(folder / REFERENCE_FILE))
    return run


def _read_fit(folder: Path) -> Fit:
    facts: dict[str, Any] = json.loads((folder / "fit.json").read_text())
    with (folder / "history.csv").open(newline="") as stream:
        history = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]
    names = ("stop", "steps", "seconds", "peak_memory_mb", "best_elbo")
    if facts["best_elbo"] is None:
        facts["best_elbo"] = -math.inf
    return Fit(history=history, **{name: facts[name] for name in names})


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("groundvae", "torch", "pyro-ppl", "torchdiffeq"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
