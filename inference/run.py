"""The saved run: everything needed to use a fitted model again, in plain files.

``config.json`` (what was fitted: the whole model as written values, never the names of today's
defaults), ``weights.safetensors`` (model and guide), ``history.csv`` (named terms over the fit),
``fit.json`` (seconds, memory, how it ended, versions). A run that knows its data also has
``reference.safetensors`` (``outofdistribution.py``). Nothing is pickled; the folder appears whole
or not at all.
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
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from groundvae.data.atomic import check_writable
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.catalogue import GuideFactory, build_guide
from groundvae.guides.guide import Guide
from groundvae.guides.options import guide_options
from groundvae.guides.phase import Ending
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.optimize import Fit
from groundvae.inference.outofdistribution import OutOfDistributionReference
from groundvae.inference.preset import build_loss
from groundvae.models.catalogue import Entry
from groundvae.models.greybox import GreyBox
from groundvae.models.ownfile import digest, find_system, load
from groundvae.models.prior import format_priors, parse_priors
from groundvae.models.recipe import FitOptions, Recipe

FORMAT = 2
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
    """Its name, or the file that declares it."""
    length: int
    """Samples of an observation that the guide's encoder reads."""
    variant: str = ""
    recipe: Recipe | None = None
    """How; None: the variant's own."""
    priors: Mapping[str, str] = field(default_factory=dict)
    """Of latents and of hyperparameters."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """The whole model as written values; empty: the variant's own."""
    file: str = ""
    file_hash: str = ""
    """Of a system of one's own: where it is declared, and the SHA-256 of that file."""
    trained_on: str = ""
    format: int = FORMAT

    @property
    def options(self) -> FitOptions:
        """How long and how fast."""
        return self.how.options

    @property
    def how(self) -> Recipe:
        """The recipe, whole."""
        return self.recipe or find_system(self.system).variant(self.variant).recipe


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

    @cached_property
    def entry(self) -> Entry:
        """The system as commands know it; of one that nobody registered, its bare frame."""
        try:
            return find_system(self.config.system)
        except InputError:
            return Entry(self.config.system, self.config.system, type(self.model.system), {})

    def batch(self, data: Dataset) -> Batch:
        """A data set as this run's model reads it: on its device, in its precision."""
        like = self.model.noise.log_scale
        return Batch.of(data, device=str(like.device), dtype=like.dtype)

    def loss(self) -> RegularizedELBO:
        """The loss that the config names."""
        return build_loss(self.config.how.loss, self.config.how.weights)

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
        written = asdict(self.config)
        (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")
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
        facts = {k: v for k, v in vars(self.fit).items() if k != "history"} | _versions()
        facts["ending"] = self.fit.ending.value
        for name in ("best_elbo", "peak_memory_mb"):  # JSON has no infinity
            facts[name] = facts[name] if math.isfinite(facts[name]) else None
        (folder / "fit.json").write_text(json.dumps(facts, indent=2) + "\n")


def new_run(
    config: RunConfig,
    priors: Mapping[str, TorchDistribution] | None = None,
    *,
    model: GreyBox | None = None,
    guide: GuideFactory | None = None,
) -> Run:
    """Build an unfitted run; parameters are drawn from the config's seed.

    Args:
        config: what is to be fitted. A recipe, a model or priors that it does not hold are those
            of the system's variant, and are written into the run's own config.
        priors: given as distributions, where they do not stand in the config as text.
        model: given as an object, in place of the variant's.
        guide: likewise, in place of the recipe's.

    """
    recipe = config.recipe or Recipe()
    if config.recipe is None and model is None:
        recipe = find_system(config.system).variant(config.variant).recipe
    torch.manual_seed(recipe.options.seed)
    if model is None and config.model:
        model = GreyBox.rebuilt(config.model)
    elif model is None:
        model = find_system(config.system).build(config.variant)
    model.with_priors(parse_priors(config.priors) | dict(priors or {}))
    sizes = guide_options(recipe.guide_options)
    built = build_guide(guide or recipe.guide, model, config.length, sizes)
    whole = replace(
        config,
        recipe=recipe,
        priors=format_priors({z.name: z.prior for z in model.latents}),
        model=model.written(),
    )
    if recipe.double:
        torch.nn.ModuleList([model, built]).double()
    return Run(_with_file(whole), model, built)


def _with_file(config: RunConfig) -> RunConfig:
    """With the file that declares the system, where it is not one of ours."""
    if config.file:
        return config
    try:
        file = find_system(config.system).file
    except InputError:
        return config
    return replace(config, file=file, file_hash=digest(Path(file))) if file else config


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
            _load_own_file(folder, values)
            return _read_run(folder, values)
    except DAMAGE as error:
        if isinstance(error, _ChangedFileError):
            raise
        raise InputError(f"{folder}: the run is damaged ({_brief(error)})") from error
    raise InputError(f"{folder}: was written in format {written}, expected {FORMAT}; fit again")


class _ChangedFileError(InputError):
    """The file that declares a run's system is gone, or is not what it was."""


def _load_own_file(folder: Path, values: Mapping[str, Any]) -> None:
    """Read the file that declares the run's system, if it is what it was."""
    if not values["file"]:
        return
    path = Path(values["file"])
    if not path.is_file():
        raise _ChangedFileError(f"{folder}: its system is declared in {path}, which is not there")
    if digest(path) != values["file_hash"]:
        raise _ChangedFileError(
            f"{folder}: its system is declared in {path}, which has changed since the fit, "
            "expected that file as it was; or fit again"
        )
    load(path)


def _read_run(folder: Path, values: dict[str, Any]) -> Run:
    how = values.pop("recipe")
    if not isinstance(how["loss"], str) or not values["model"]:
        raise ValueError("no loss, or no model")
    recipe = Recipe(**{**how, "options": FitOptions(**how["options"])})
    run = new_run(RunConfig(**values, recipe=recipe))
    weights = load_file(folder / "weights.safetensors")
    wrong = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if wrong:
        raise ValueError(f"the weights of {wrong[0]} are not finite")
    both = nn.ModuleDict({"model": run.model, "guide": run.guide})
    both.to(next((v.dtype for v in weights.values() if v.is_floating_point()), torch.float32))
    both.load_state_dict(weights)
    run.fit = _read_fit(folder)
    if (folder / REFERENCE_FILE).is_file():
        run.ood_reference = OutOfDistributionReference(**load_file(folder / REFERENCE_FILE))
    return run


def _read_fit(folder: Path) -> Fit:
    facts: dict[str, Any] = json.loads((folder / "fit.json").read_text())
    with (folder / "history.csv").open(newline="") as stream:
        history = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]
    facts["best_elbo"] = -math.inf if facts["best_elbo"] is None else facts["best_elbo"]
    ending = Ending(facts["ending"])
    names = ("why", "steps", "seconds", "peak_memory_mb", "best_elbo")
    return Fit(history=history, ending=ending, **{name: facts[name] for name in names})


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
