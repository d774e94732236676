"""The posterior of more observations than the memory holds, block by block, into a Zarr folder.

Blocks are those of ``posterior``, with the same seeds: what is written does not depend on who
writes it, nor on how often the work was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from groundvae.data.atomic import digest_of
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.rows import Rows
from groundvae.data.unusable import usable
from groundvae.inference import arviz as az
from groundvae.inference.bad import NothingInferredError
from groundvae.inference.block import block_size
from groundvae.inference.cluster import NONE, workers
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.posterior import posterior
from groundvae.inference.run import INDEX, Run, load_run
from groundvae.models.intervention import Change

if TYPE_CHECKING:
    from groundvae.inference.store import Store

SOME = 20  # observations that the arrays are laid out by


@dataclass(frozen=True)
class Question:
    """What is asked of each observation; see ``posterior``."""

    folder: Path
    """Of the run; the workers read it themselves."""
    version: str
    """Of the run: the hash of its index."""
    options: PosteriorOptions
    changes: tuple[tuple[str, Change], ...] = ()
    until: float | None = None
    device: str = "cpu"

    def answer(self, run: Run, data: Dataset, first: int) -> az.InferenceData:
        """The posterior of observations that begin with number ``first`` of all."""
        changes = dict(self.changes)
        found = posterior(run, data, self.options, changes=changes, until=self.until, first=first)
        return found.assign_coords(observation=first + np.arange(len(data)))


@dataclass(frozen=True)
class Block:
    """Some observations, the first of them number ``first`` of all."""

    first: int
    data: Dataset


def posterior_to_zarr(
    folder: Path | str,
    data: Rows,
    out: Path | str,
    options: PosteriorOptions | None = None,
    *,
    changes: Mapping[str, Change] | None = None,
    until: float | None = None,
    cluster: str = NONE,
    device: str = "cpu",
    digest: str = "",
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> None:
    """Write what ``posterior`` gives, in constant memory, on as many workers as there are.

    Where ``out`` was begun with the same run, data and options, the blocks that it lacks are added.
    Read it by ``xr.open_zarr(out, group="posterior")``, or all of it for ArviZ by
    ``groundvae.inference.store.read_store``. A block in which no observation can be used is
    marked so (``constant_data.unusable``), and has no values.

    Args:
        folder: of a saved run; workers must see it, and ``out``.
        data: a data set, or rows of a file that are read when they are needed.
        out: the folder to write, its name ends in ``.zarr``.
        options: how much to draw.
        changes: interventions on latents after they are inferred.
        until: predict up to this time, s.
        cluster: who draws: ``none``, ``local:N`` or ``tcp://HOST:PORT``, see ``cluster.workers``.
        device: where each worker computes, ``cpu`` or ``cuda``.
        digest: of the data, where they are a file; else it is computed from the data set.
        progress: is told how many observations are written, of how many.

    Raises:
        InputError: ``out`` holds something else; the disk is too small; nothing can be inferred.

    """
    folder = Path(folder).resolve()
    load_run(folder)  # one that is damaged stops here
    version = digest_of((folder / INDEX).read_bytes())
    asked = options or PosteriorOptions()
    question = Question(folder, version, asked, tuple((changes or {}).items()), until, device)
    if not digest and isinstance(data, Dataset):
        digest = data.digest()
    store = prepared(question, data, Path(out).resolve(), digest)
    missing, count = store.missing(), len(data)
    done = count - sum(min(store.size, count - first) for first in missing)
    progress(done, count)
    blocks = (Block(i, data.subset(slice(i, min(i + store.size, count)))) for i in missing)
    if not missing:
        return
    with workers(cluster) as group:
        for written in group.map(partial(write_block, question, store.path), blocks):
            done += written
            progress(done, count)


def prepared(question: Question, data: Rows, out: Path, digest: str) -> Store:
    """The store of a question: the one that was begun, or a new one."""
    stores = _modules()
    run = _run(question.folder, question.version, question.device)
    asked = {
        "run": question.version,
        "data": digest,
        **asdict(question.options),
        "changes": [[name, change.factor, change.shift] for name, change in question.changes],
        "until": question.until,
        "device": question.device,
    }
    if out.exists():
        begun: Store = stores.Store(out)
        begun.refuse_other(asked)
        return begun
    few = first_usable(data).declare(run.model.system.inputs)
    if few.own_times and question.until is not None:
        raise InputError("predictions beyond times of each observation's own are written to .nc")
    batch = run.batch(few)
    ahead = batch if question.until is None else batch.until(question.until)
    size = block_size(ahead.x[0].numel(), question.options)
    like = question.answer(run, few, 0)
    created: Store = stores.create(out, like, len(data), size, asked, data.names)
    return created


def first_usable(data: Rows) -> Dataset:
    """The first few observations of which any can be inferred from.

    Raises:
        InputError: there is none.

    """
    for first in range(0, len(data), SOME):
        some = data.subset(slice(first, min(first + SOME, len(data))))
        if usable(some).any():
            return some
    raise InputError("no observation has any samples, expected some")


def write_block(question: Question, path: Path, block: Block) -> int:
    """Write one block into the store at ``path``; how many observations it has."""
    store = _modules().Store(path)
    run = _run(question.folder, question.version, question.device)
    try:
        store.write(question.answer(run, block.data, block.first), block.first)
    except NothingInferredError:
        store.give_up(block.first)
    return len(block.data)


@lru_cache(maxsize=1)
def _run(folder: Path, version: str, device: str) -> Run:
    """Read once by each worker; another ``version`` anew."""
    return load_run(folder).to(device)


def _modules() -> ModuleType:
    try:
        from groundvae.inference import store
    except ImportError as error:
        raise InputError(
            "a .zarr needs Zarr and Dask, expected `pip install groundvae[cluster]`"
        ) from error
    return store
