"""The training loop: one for all models, guides and objectives."""

from __future__ import annotations

import pyro
import torch

from groundvae.data.batch import Batch
from groundvae.guides.guide import Guide
from groundvae.guides.phase import Ending, Fitting
from groundvae.guides.simulation import Simulator
from groundvae.inference.checkpoint import Checkpoints
from groundvae.inference.course import Course
from groundvae.inference.course import Report as Report
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.ending import Fit as Fit
from groundvae.inference.ending import peak_memory_mb as peak_memory_mb
from groundvae.inference.interruption import interruptible
from groundvae.models.greybox import GreyBox
from groundvae.models.recipe import FitOptions
from groundvae.physics.errors import NonFiniteError


def optimize(
    model: GreyBox,
    guide: Guide,
    loss: RegularizedELBO,
    train: Batch,
    valid: Batch,
    options: FitOptions | None = None,
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fit:
    """Train ``model`` and ``guide`` in place, in the phases that the guide declares.

    A validated phase ends in its state of best validation ELBO. Ctrl-C (or another signal that
    asks to stop) ends the fit after the current step, and steps in a row that leave the finite
    numbers end it too (``Fit.ending`` says which; a single one is left out); both keep the best
    state so far. ``report`` is called after every validation. ``checkpoints`` are left on the
    way, and say where a fit goes on that was begun before.
    """
    options = options or FitOptions()
    # The seed of parameters is the caller's (they exist already); this one is the batches'.
    torch.manual_seed(options.seed)
    guide.attach(model)
    guide.prepare(train)
    loss.prepare(model)
    simulator = Simulator(model, population=guide.population)
    fitting = Fitting(model, loss, train, options, simulator)
    course = Course(fitting, guide, valid, report, checkpoints or Checkpoints())
    with pyro.validation_enabled(False), interruptible() as interrupted:
        try:
            course.run(guide.phases(fitting), interrupted)
        except NonFiniteError as error:
            course.end(Ending.DIVERGED, f"at step {course.result.steps + 1}: {error}")
    return course.finish()
