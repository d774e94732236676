"""One call from data to a report."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from groundvae.data.atomic import check_writable, replacing
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.diagnostics.diagnose import Diagnosis, diagnose
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run


def report(
    run: Run,
    data: Dataset,
    path: str | Path,
    options: PosteriorOptions | None = None,
    *,
    against: Run | None = None,
    show: Sequence[int] = (),
) -> Diagnosis:
    """Diagnose a run on observations, and write one self-contained page.

    Args:
        run: the fitted model and guide.
        data: observations that were not fitted; true latents among them are compared with.
        path: the ``.html`` to write.
        options: how much to draw.
        against: another run of the same physics, to compare with.
        show: positions of observations to draw and to tell about.

    Returns:
        What was found: ``answers`` (the five, by name), ``verdicts``, ``metrics`` and
        ``observations`` (a table, one row each).

    Raises:
        InputError: a name that does not end in ``.html``, or a folder that cannot be written.

    """
    target = Path(path)
    if target.suffix != ".html":
        raise InputError(f"{target}: expected a name that ends in .html")
    check_writable(target)
    with tempfile.TemporaryDirectory() as folder:
        found = diagnose(
            run, posterior(run, data, options), Path(folder), against=against, show=show
        )
        page = (Path(folder) / "report.html").read_text(encoding="utf-8")
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return found
