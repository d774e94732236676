"""The saved run: everything needed to use a fitted model again, in plain files.

``config.json`` (what was fitted, as values, never as names of defaults, and the hashes of the other
files), ``weights.safetensors`` (model and guide), ``history.csv`` (named terms over the fit),
``fit.json`` (seconds, memory, how it ended, versions) and, of a run that knows its data,
``reference.safetensors``, ``population.safetensors`` and what that holds, ``population.json``.
Nothing is pickled; what is replaced is replaced together.
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensors_as_bytes
from torch import nn

from groundvae.data.atomic import digest_of, read_together, write_together
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.units import check_units
from groundvae.guides.catalogue import GuideFactory, build_guide
from groundvae.guides.guide import Guide
from groundvae.guides.options import guide_options
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.ending import Fit
from groundvae.inference.folder import check_complete
from groundvae.inference.folder import check_folder as check_folder
from groundvae.inference.outofdistribution import OutOfDistributionReference
from groundvae.inference.population import FACTS as POPULATION_FACTS
from groundvae.inference.population import FILE as POPULATION_FILE
from groundvae.inference.population import Population
from groundvae.inference.preset import build_loss
from groundvae.inference.runconfig import FORMAT
from groundvae.inference.runconfig import RunConfig as RunConfig
from groundvae.inference.showing import shown
from groundvae.models.catalogue import Entry
from groundvae.models.greybox import GreyBox
from groundvae.models.ownfile import digest, find_system, load
from groundvae.models.prior import format_priors, parse_priors
from groundvae.models.recipe import FitOptions, Recipe

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
INDEX = "config.json"
FILES = (INDEX, "weights.safetensors", "history.csv", "fit.json")


@dataclass
class Run:
    """A fitted model and guide, and how they came to be."""

    config: RunConfig
    model: GreyBox
    guide: Guide
    fit: Fit = field(default_factory=Fit)
    ood_reference: OutOfDistributionReference | None = None
    population: Population | None = None

    def __post_init__(self) -> None:
        self.guide.attach(self.model)

    @cached_property
    def entry(self) -> Entry:
        """The system as commands know it; of one that nobody registered, its bare frame."""
        try:
            return find_system(self.config.system)
        except InputError:
            return Entry(self.config.system, self.config.system, type(self.model.system), {})

    def to(self, device: str) -> Run:
        """The same run, whose model and guide now compute on another device."""
        nn.ModuleList([self.model, self.guide]).to(device)
        return self

    def _repr_html_(self) -> str:
        return shown(self)

    def batch(self, data: Dataset) -> Batch:
        """A data set as this run's model reads it: on its device, in its precision.

        Raises:
            InputError: the data state other units than the law does.

        """
        check_units(data.units, self.model.system.units)
        like = self.model.noise.log_scale
        return Batch.of(data, device=str(like.device), dtype=like.dtype)

    def loss(self) -> RegularizedELBO:
        """The loss that the config names."""
        return build_loss(self.config.how.loss, self.config.how.weights)

    def save(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write the run; ``folder`` must hold none unless ``overwrite``.

        Nothing is touched in the folder but the files of a run.

        Raises:
            InputError: a run is there, or no run but other files; it cannot be written.

        """
        check_folder(Path(folder), overwrite=overwrite)
        self.write(Path(folder))

    def write(self, folder: Path) -> None:
        """Write the files of the run, each in place of its predecessor.

        Raises:
            InputError: they cannot be written.

        """
        files = self._files()
        written = asdict(self.config) | {"files": {k: digest_of(v) for k, v in files.items()}}
        write_together(folder, files | {INDEX: _json(written)}, INDEX)

    def _files(self) -> dict[str, bytes]:
        """All but the index."""
        both = nn.ModuleDict({"model": self.model, "guide": self.guide})
        weights = {name: value.contiguous() for name, value in both.state_dict().items()}
        facts = self.fit.facts() | versions()
        files = {
            "weights.safetensors": tensors_as_bytes(weights),
            "history.csv": self.fit.table().encode(),
            "fit.json": _json(facts),
        }
        if self.ood_reference is not None:
            files[REFERENCE_FILE] = tensors_as_bytes(vars(self.ood_reference))
        return files | (self.population.files() if self.population is not None else {})


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


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


def load_run(folder: Path | str) -> Run:
    """Read a run that ``Run.save`` wrote.

    Raises:
        InputError: no such run, damaged, or written by another version.

    """
    folder = Path(folder)
    check_complete(folder, FILES)
    try:
        values = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        written = values["format"]
        files = values.pop("files", {})
        if written == FORMAT:
            return _read_run(folder, config_of(folder, values), files)
    except DAMAGE as error:
        if isinstance(error, _ChangedFileError):
            raise
        raise InputError(f"{folder}: the run is damaged ({_brief(error)})") from error
    raise InputError(f"{folder}: was written in format {written}, expected {FORMAT}; fit again")


def config_of(folder: Path, values: Mapping[str, Any]) -> RunConfig:
    """What was fitted, from plain values that a ``folder`` held; its own file is read.

    Raises:
        InputError: the file that declares the system is gone, or is not what it was.

    """
    _load_own_file(folder, values)
    how = values["recipe"]
    if not isinstance(how["loss"], str) or not values["model"]:
        raise ValueError("no loss, or no model")
    options = FitOptions(**how["options"])
    return RunConfig(**{**values, "recipe": Recipe(**{**how, "options": options})})


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


def _read_run(folder: Path, config: RunConfig, files: Mapping[str, str]) -> Run:
    """The run of a config; ``files``: hashes by name, empty in runs that are older than these."""

    def content(name: str) -> bytes:
        return read_together(folder, name, files[name]) if files else (folder / name).read_bytes()

    run = new_run(config)
    weights = load_tensors(content("weights.safetensors"))
    wrong = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if wrong:
        raise ValueError(f"the weights of {wrong[0]} are not finite")
    both = nn.ModuleDict({"model": run.model, "guide": run.guide})
    both.to(next((v.dtype for v in weights.values() if v.is_floating_point()), torch.float32))
    both.load_state_dict(weights)
    run.fit = Fit.read(json.loads(content("fit.json")), content("history.csv").decode())
    if REFERENCE_FILE in files or (not files and (folder / REFERENCE_FILE).is_file()):
        run.ood_reference = OutOfDistributionReference(**load_tensors(content(REFERENCE_FILE)))
    if POPULATION_FILE in files:
        run.population = Population.read(content(POPULATION_FILE), content(POPULATION_FACTS))
    return run


def versions() -> dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in ("groundvae", "torch", "pyro-ppl", "torchdiffeq"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
