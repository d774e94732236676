"""The report: degenerate data never crash it, and a real browser shows all of it."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.pendulum import TIMES, simulate
from groundvae.diagnostics import diagnose as diagnosing
from groundvae.diagnostics.answers import QUESTIONS
from groundvae.diagnostics.diagnose import diagnose, read_verdicts
from groundvae.diagnostics.style import save_figure
from groundvae.diagnostics.verdict import LEVELS
from groundvae.guides.amortized import UNCONSTRAINED
from groundvae.guides.guide import Guide
from groundvae.guides.population import Population
from groundvae.inference.outofdistribution import learn_reference
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, RunConfig, new_run
from groundvae.models.function import Function
from groundvae.models.greybox import AUXILIARY, GreyBox
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import Recipe
from groundvae.models.residuals import Residual, Seen, Waves
from groundvae.models.values import Values

OPTIONS = PosteriorOptions(draws=60, predictive_draws=30)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


pytestmark = pytest.mark.usefixtures("few_simulations")


def unfitted(variant: str = "hybrid-told") -> Run:
    """A run with a gentle residual: no importance weight is so small that none is left."""
    run = new_run(RunConfig("pendulum", len(TIMES), variant))
    for residual in run.model.terms:
        if isinstance(residual, Waves):
            torch.nn.init.zeros_(residual.linear.weight)
    return run


def report_of(run: Run, data: Dataset, folder: Path) -> str:
    diagnose(run, posterior(run, data, OPTIONS), folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def left_out(page: str) -> str:
    found = re.search(r"<h2>Left out</h2>\n<ul>(.*?)</ul>", page)
    return "" if found is None else html.unescape(found[1])


def assert_sound(page: str, folder: Path) -> None:
    """Every metric is a number, every figure has an alternative text and nothing failed."""
    metrics = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    answers = {k: metrics.pop(k) for k in list(metrics) if k.startswith("answer_")}
    assert set(answers) == {f"answer_{name}" for name in QUESTIONS}
    assert set(answers.values()) <= set(LEVELS)
    assert all(isinstance(v, float) and math.isfinite(v) for v in metrics.values())
    assert {v.level for v in read_verdicts(folder)} <= set(LEVELS)
    assert page.count("<img") == page.count('alt="')
    assert page.count("<img") == len(list(folder.glob("*.png"))) == len(list(folder.glob("*.svg")))
    assert "could not be computed" not in page


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a report in which every section applies, with figures as users get them."""
    folder = tmp_path_factory.mktemp("complete")
    run = unfitted()
    with torch.no_grad():
        run.model.noise.log_scale.fill_(0.0)  # quiet enough for weights that are finite
    train, valid = Batch.of(simulate(60, 1)), Batch.of(simulate(60, 2))
    run.guide.prepare(train)
    run.ood_reference = learn_reference(run.model, run.guide, train, valid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnosing, "save_figure", save_figure)
        report_of(run, simulate(60, 0), folder)
    return folder


def test_a_complete_report(complete: Path) -> None:
    page = (complete / "report.html").read_text(encoding="utf-8")
    assert_sound(page, complete)
    assert "Left out" not in page
    metrics = json.loads((complete / "metrics.json").read_text())
    kept = {"reconstruction_sse", "reconstruction_mae", "elbo"}
    kept |= {f"omega_{what}" for what in ("mae", "crps", "cov50", "cov90")}
    assert kept <= set(metrics)
    new = {"iwae", "tarp_deviation", "omega_contraction", "share_physics", "omega_sbc_deviation"}
    assert new <= set(metrics)
    names = {v.name for v in read_verdicts(complete)}
    assert {
        "coverage of omega",
        "importance weights",
        "share of physics",
        "observations out of distribution",
    } <= names
    assert page.index("What may be used?") < page.index("Figures</h2>")
    table = pd.read_csv(complete / "observations.csv", index_col="observation")
    assert {"verdict", "reason", "k_hat", "misfit", "structure", "surprise", "modes"} <= set(table)
    assert len(table) == 60
    assert ((table["omega_low"] < table["omega"]) & (table["omega"] < table["omega_high"])).all()
    assert not re.search("https?://", page)


def test_one_observation(tmp_path: Path) -> None:
    page = report_of(unfitted(), simulate(1, 0), tmp_path)
    assert_sound(page, tmp_path)
    verdicts = {v.name: v.level for v in read_verdicts(tmp_path)}
    assert verdicts["coverage of omega"] == "not enough data"
    assert "No verdict from 1 observations" in page


def test_constant_data(tmp_path: Path) -> None:
    truth = {"omega": np.full(30, 2.0)}
    page = report_of(unfitted(), Dataset(np.zeros((30, 50)), {"t": TIMES}, truth), tmp_path)
    assert_sound(page, tmp_path)
    assert "the data do not vary" in left_out(page)
    assert "the same everywhere" in page


def test_data_without_truth_and_with_gaps(tmp_path: Path) -> None:
    x = np.array(simulate(25, 0).x)
    x[:, 10:20] = np.nan
    page = report_of(unfitted(), Dataset(x, {"t": TIMES}), tmp_path)
    assert_sound(page, tmp_path)
    assert "no true omega, theta0" in left_out(page)


@pytest.mark.parametrize(
    ("variant", "word"),
    [
        ("nn-only", "no physics"),
        pytest.param("physics-only", "no residual", marks=pytest.mark.slow),
    ],
)
def test_models_without_physics_or_without_residual(
    variant: str, word: str, tmp_path: Path
) -> None:
    page = report_of(unfitted(variant), simulate(25, 0), tmp_path)
    assert_sound(page, tmp_path)
    assert word in left_out(page)


def test_few_draws(tmp_path: Path) -> None:
    run, data = unfitted(), simulate(8, 0)
    few = posterior(run, data, PosteriorOptions(draws=1, predictive_draws=1))
    diagnose(run, few, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert_sound(page, tmp_path)
    assert "predictive draws" in left_out(page)


def test_a_hierarchical_prior(tmp_path: Path) -> None:
    priors = {"omega": "LogNormal(mu, 0.3)", "mu": "Normal(0.5, 0.3)"}
    run = new_run(RunConfig("pendulum", len(TIMES), "physics-only", priors=priors))
    page = report_of(run, simulate(25, 0), tmp_path)
    assert_sound(page, tmp_path)
    assert "could not be computed" not in page


def test_draws_without_importance_weights(tmp_path: Path) -> None:
    run, data = unfitted(), simulate(25, 0)
    drawn = posterior(run, data, OPTIONS)
    del drawn.sample_stats
    diagnose(run, drawn, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert_sound(page, tmp_path)
    assert "carry no importance weights" in left_out(page)


def test_predictions_beyond_the_data(tmp_path: Path) -> None:
    run, data = unfitted(), simulate(8, 0)
    diagnose(run, posterior(run, data, OPTIONS, until=3.0), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "predictions and data have different shapes" in left_out(page)


def test_one_observation_of_a_run_that_knows_its_data(tmp_path: Path) -> None:
    run = unfitted()
    train = Batch.of(simulate(30, 1))
    run.guide.prepare(train)
    run.ood_reference = learn_reference(run.model, run.guide, train, train)
    page = report_of(run, simulate(1, 0), tmp_path)
    assert_sound(page, tmp_path)
    levels = {v.name: v.level for v in read_verdicts(tmp_path)}
    assert levels["observations out of distribution"] == "not enough data"


@pytest.mark.parametrize(
    ("variant", "n"),
    [
        pytest.param("nn-only", 25, marks=pytest.mark.slow),
        pytest.param("hybrid-reg", 25, marks=pytest.mark.slow),
        ("hybrid-reg", 1),
    ],
)
def test_gait(variant: str, n: int, tmp_path: Path) -> None:
    data = find_system("gait").source.simulate(n, 0)
    run = new_run(RunConfig("gait", data.x.shape[1], variant))
    run.guide.prepare(Batch.of(find_system("gait").source.simulate(60, 1)))
    page = report_of(run, data, tmp_path)
    assert_sound(page, tmp_path)
    word = "no physics latents" if variant == "nn-only" else "the data carry no true q1"
    assert word in left_out(page)


class Picture(Function):
    """Images (row, column, band) of one brightness.

    The position angle of a gradient is an axis: 0 and pi are the same.
    """

    axes = ("row", "column", "band")
    coordinates: ClassVar[dict[str, str]] = {}
    labels: ClassVar[dict[str, tuple[str, ...]]] = {"band": ("r", "g", "b")}
    light = Latent(dist.Uniform(0.0, 1.0), "", "how bright", constraints.positive)
    angle = Latent(
        dist.Uniform(0.0, math.pi),
        "rad",
        "axis of the gradient",
        constraints.interval(0.0, math.pi),
        period=math.pi,
    )

    def predict(self, z: Values, inputs: Values) -> Tensor:
        ramp = torch.linspace(0, 1, 4)[:, None, None].expand(4, 5, 3)
        return z.light * ramp * (1.5 + 0.5 * torch.cos(2 * z.angle))


class Shade(Residual):
    """A shade that is added, of one number."""

    def __init__(self) -> None:
        super().__init__("observation", (), auxiliary=1)

    def add(self, seen: Seen, states: Values) -> Tensor:
        ramp = torch.linspace(1, 0, 4)[:, None, None].expand(4, 5, 3)
        return 0.1 * seen.auxiliary[..., None, None] * ramp


class PictureGuide(Guide):
    """The same posterior for every image."""

    population = Population({})

    def __init__(self, spec: LatentSpec) -> None:
        torch.nn.Module.__init__(self)
        self.latents, self.auxiliary = spec, 1

    def forward(self, batch: object, found: object = None) -> None:
        with pyro.plate("observation", len(batch), dim=-1):  # type: ignore[arg-type]
            pyro.sample(AUXILIARY, dist.Normal(torch.zeros(1), 1.0).to_event(1))
            drawn = pyro.sample(UNCONSTRAINED, dist.Normal(torch.zeros(2), 1.0).to_event(1))
            self.place_physics(drawn)


@pytest.mark.parametrize("n", [25, 1])
def test_images_with_a_latent_that_wraps(n: int, tmp_path: Path) -> None:
    model = GreyBox(Picture(), Shade(), Gaussian(0.1))
    run = Run(RunConfig("picture", 60, recipe=Recipe()), model, PictureGuide(model.latents))
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(n, 4, 5, 3)).astype(np.float32)
    truth = {"light": x.mean((1, 2, 3)), "angle": rng.uniform(0, np.pi, n)}
    page = report_of(run, Dataset(x, {}, truth), tmp_path)
    assert_sound(page, tmp_path)
    assert (tmp_path / "reconstruction.png").is_file()
    assert (tmp_path / "recovery_angle.png").is_file()
    names = {v.name for v in read_verdicts(tmp_path)}
    assert {"coverage of angle", "residual off: angle", "prior sensitivity of angle"} <= names


PROBE = """<!doctype html><body><iframe id=f width=390 height=800
style="border:0"></iframe><pre id=out></pre><script>
const f = document.getElementById("f");
f.onload = () => { const d = f.contentDocument;
if (!d.images.length) return;
document.getElementById("out").textContent = JSON.stringify({
wide: d.documentElement.scrollWidth, images: d.images.length,
broken: [...d.images].filter(i => !i.complete || !i.naturalWidth).length,
loaded: f.contentWindow.performance.getEntriesByType("resource")
.filter(e => !e.name.startsWith("data:")).length}); };
f.src = "report.html";
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_a_browser_shows_the_whole_report(complete: Path, tmp_path: Path) -> None:
    (complete / "probe.html").write_text(PROBE)
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu"]
    command += ["--allow-file-access-from-files", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
    command += [(complete / "probe.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="out">(\{.*?\})</pre>', done.stdout)
    assert found is not None, done.stdout[-500:] + done.stderr[-2000:]
    seen = json.loads(found[1])
    assert seen["images"] == len(list(complete.glob("*.png")))
    assert (seen["broken"], seen["loaded"]) == (0, 0)
    assert seen["wide"] <= 390
    assert "CONSOLE" not in done.stderr
