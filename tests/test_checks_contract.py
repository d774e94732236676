"""Every check keeps the same contract, ours and those of others."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.gait import simulate as simulate_gait
from groundvae.data.pendulum import TIMES, simulate
from groundvae.data.root import STAND_IN
from groundvae.diagnostics.check import CHECKS, Check, Finding, LeftOutError, registered
from groundvae.diagnostics.checks import ORDER, checks_of_report
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.diagnose import diagnose, read_verdicts
from groundvae.diagnostics.verdict import LEVELS, Verdict
from groundvae.inference import arviz as az
from groundvae.inference.outofdistribution import learn_reference
from groundvae.inference.population import learn_population
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, RunConfig, new_run

pytestmark = pytest.mark.usefixtures("few_simulations")

UNJUDGED = (  # of few, or never
    "standin", "discovery", "leaning", "correlatedeffects", "generation", "population",
)  # fmt: skip
OPTIONS = PosteriorOptions(draws=60, predictive_draws=30)

OWN = '''
import numpy as np
import xarray as xr

from groundvae.diagnostics.check import Check, registered


class Mirror(Check):
    """Whether predictions are as often above the data as below."""

    name, title, subject = "mirror", "Above and below", "sides of {of}"
    alternative, caption = "A histogram of one bar.", "Half is best."
    good, doubtful, measured = 0.4, 0.1, "above"
    sentences = {"good": "On both sides.", "bad": "Only {percent:.0f} % are above."}
    metric_words = {"share_above": "share of the samples below their prediction, {unit}"}

    def compute(self, context):
        mean = context.inference_data["posterior_predictive"]["x"].mean(("chain", "draw"))
        above = (mean.values > context.x).reshape(len(context.x), -1).mean(1)
        return xr.Dataset({"above": ("observation", above)}, attrs={"latent": "x"})

    def draw(self, result, grid):
        grid[0, 0].bar([0], [self.value(result)])
        return "How many are above"


@registered
class Own(Mirror):
    name = "own"
'''


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    torch.manual_seed(0)
    pendulum = new_run(RunConfig("pendulum", len(TIMES), "hybrid-told", trained_on=STAND_IN))
    with torch.no_grad():
        pendulum.model.noise.log_scale.fill_(0.0)  # quiet enough for weights that are finite
    train = Batch.of(simulate(30, 1))
    pendulum.guide.prepare(train)
    pendulum.ood_reference = learn_reference(pendulum.model, pendulum.guide, train, train)
    pendulum.population = learn_population(pendulum, train)
    strides = simulate_gait(4, 0)
    gait = new_run(RunConfig("gait", strides.x.shape[1]))
    gait.guide.prepare(Batch.of(strides))
    return {"pendulum": pendulum, "gait": gait}


def context_of(run: Run, data: Dataset) -> Context:
    """With a reference: the guide's own draws, of all observations."""
    drawn = posterior(run, data, OPTIONS)
    return Context(run, drawn, az.InferenceData(posterior=drawn["posterior"]), against=run)


@pytest.fixture(scope="module")
def contexts(runs: dict[str, Run]) -> dict[str, Context]:
    flat = Dataset(np.zeros((25, 50)), {"t": TIMES}, {"omega": np.full(25, 2.0)})
    return {
        "ordinary": context_of(runs["pendulum"], simulate(25, 0)),
        "single": context_of(runs["pendulum"], simulate(1, 0)),
        "constant": context_of(runs["pendulum"], flat),
        "moving": context_of(runs["gait"], simulate_gait(2, 0)),
    }


def test_advice_is_about_the_run(contexts: dict[str, Context]) -> None:
    """What is trained may be trained longer; physics alone have no residual to give more room."""
    told = contexts["ordinary"]
    assert told.better_guide.startswith("train longer")
    assert told.more_room == "give the residual more room"
    alone = new_run(RunConfig("pendulum", len(TIMES), "physics-only", trained_on=STAND_IN))
    alone.guide.prepare(Batch.of(simulate(30, 1)))
    assert context_of(alone, simulate(25, 0)).more_room == "give the model a residual"
    evidence = new_run(RunConfig("pendulum", len(TIMES), "hybrid-evidence", trained_on=STAND_IN))
    drawn = Context(evidence, told.inference_data, None)
    assert "train" not in drawn.better_guide


@pytest.mark.parametrize("name", list(CHECKS))
def test_a_check_has_all_of_its_words(name: str) -> None:
    check = CHECKS[name]()
    assert check.name == name
    assert (type(check).__doc__ or "").strip()
    module = sys.modules[type(check).__module__].__doc__ or ""
    assert "Misleads:" in module or not check.drawn()
    for text in (check.title, check.subject, *check.sentences.values(), *check.metric_words):
        assert text
    assert set(check.sentences) >= {"bad"}
    if check.drawn():
        assert check.alternative.endswith(".")
        assert check.caption.endswith(".")
    assert len([name for name in CHECKS if CHECKS[name] is type(check)]) == 1


def found_by(check: Check, context: Context) -> Finding | None:
    try:
        return check(context)
    except LeftOutError:
        return None


@pytest.mark.parametrize("name", list(CHECKS))
@pytest.mark.parametrize("data", ["ordinary", "single", "constant", "moving"])
def test_a_check_finds_or_says_why_not(name: str, data: str, contexts: dict[str, Context]) -> None:
    check = CHECKS[name]()
    finding = found_by(check, contexts[data])
    if finding is None:
        assert data != "ordinary" or name in (
            "energy",
            "discovery",
            "leaning",
            "correlatedeffects",
            "generation",
            "population",
        )
        return
    assert {v.level for v in finding.verdicts} <= set(LEVELS)
    assert all(v.meaning and "{" not in v.meaning for v in finding.verdicts)
    patterns = [p.replace("{latent}", "") for p in check.metric_words]
    assert all(any(metric.endswith(p) for p in patterns) for metric in finding.metrics)
    if data == "ordinary":
        assert len(finding.metrics) >= len(check.metric_words) - 2  # shares of residuals
        assert np.isfinite(list(finding.metrics.values())).all()
    for drawing in finding.drawings:
        assert isinstance(drawing.figure, Figure)
        assert drawing.figure.axes
        assert drawing.name.startswith(name)
        assert "{" not in drawing.alternative + drawing.caption


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in UNJUDGED])
def test_too_few_observations_are_refused(
    name: str, contexts: dict[str, Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundvae.diagnostics.context.SIMULATIONS", 10)
    known = contexts["moving" if name == "energy" else "single"]
    few = Context(known.run, known.inference_data, known.reference, against=known.run)
    finding = CHECKS[name]()(few)
    assert finding.verdicts
    assert {v.level for v in finding.verdicts} == {"not enough data"}
    assert all(v.meaning.startswith("No verdict from") for v in finding.verdicts)
    assert np.isnan([v.value for v in finding.verdicts]).all()


def test_one_verdict_for_each_physics_latent_and_one_for_all_others(
    contexts: dict[str, Context],
) -> None:
    found = {}
    for name in ("contraction", "calibration", "guide_vs_nuts", "physics_only_refit", "coverage"):
        found[name] = [v.name for v in CHECKS[name]()(contexts["ordinary"]).verdicts]
    assert found["contraction"] == [
        "contraction of omega",
        "contraction of theta0",
        "active units of z_aux",
    ]
    assert [name[:-3] for name in found["calibration"][2:]] == ["self-calibration of z_aux"]
    assert [name[:-3] for name in found["guide_vs_nuts"][2:]] == ["guide against NUTS: z_aux"]
    assert found["physics_only_refit"] == ["residual off: omega", "residual off: theta0"]
    assert found["coverage"] == ["coverage of omega", "coverage of theta0"]


def test_conditions_are_asked_before_anything_is_computed(contexts: dict[str, Context]) -> None:
    bare = Context(contexts["ordinary"].run, az.InferenceData(observed_data=xr.Dataset()))
    for name in ("reconstruction", "weights", "predictive", "loo_pit", "priorpredictive"):
        with pytest.raises(LeftOutError, match=r"the posterior has no|carry no importance"):
            CHECKS[name]()(bare)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[type[Check]]:
    """A check from a file outside the package, forgotten afterwards."""
    path = tmp_path / "own_check.py"
    path.write_text(OWN)
    spec = importlib.util.spec_from_file_location("own_check", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        yield module.Mirror
    finally:
        CHECKS._known.pop("own")


def test_a_check_of_ones_own_is_in_the_report(
    own: type[Check], contexts: dict[str, Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundvae.diagnostics.checks.ORDER", ("standin",))  # ours: one is enough
    monkeypatch.setattr(CHECKS, "_known", {k: CHECKS._known[k] for k in ("standin", "own")})
    ordinary = contexts["ordinary"]
    metrics = diagnose(ordinary.run, ordinary.inference_data, tmp_path, checks=[own()]).metrics
    assert (
        metrics["share_above"] == json.loads((tmp_path / "metrics.json").read_text())["share_above"]
    )
    names = [v.name for v in read_verdicts(tmp_path)]
    assert names == ["measured data", "sides of x", "sides of x"]  # registered, then handed over
    page = (tmp_path / "report.html").read_text()
    assert page.count("A histogram of one bar.") == 2
    assert "share of the samples below their prediction, rad" in page
    assert {p.name for p in tmp_path.glob("*.png")} == {"own_x.png", "mirror_x.png"}


def test_ours_come_first_and_a_name_stands_for_one_check(own: type[Check]) -> None:
    class Stricter(CHECKS["weights"]):  # type: ignore[misc]
        good = 0.01

    names = [check.name for check in checks_of_report([own(), Stricter()])]
    assert names == [*ORDER, "own", "mirror"]
    found = {check.name: check for check in checks_of_report([Stricter()])}
    assert found["weights"].good == 0.01


def test_a_check_that_fails_leaves_the_others_standing(
    contexts: dict[str, Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(CHECKS["standin"]):  # type: ignore[misc]
        name = "broken"

        def verdicts(self, result: xr.Dataset) -> list[Verdict]:
            raise TypeError("what a mistake\nlooks like")

    monkeypatch.setattr("groundvae.diagnostics.checks.ORDER", ("standin",))
    monkeypatch.setattr(CHECKS, "_known", {"standin": CHECKS["standin"]})
    ordinary = contexts["ordinary"]
    diagnose(ordinary.run, ordinary.inference_data, tmp_path, checks=[Broken()])
    assert [v.name for v in read_verdicts(tmp_path)] == ["measured data"]
    page = (tmp_path / "report.html").read_text()
    assert "could not be computed (TypeError: what a mistake)" in page


def test_a_check_without_words_or_with_a_taken_name_is_refused() -> None:
    class Silent(CHECKS["weights"]):  # type: ignore[misc]
        name, caption = "silent", ""

    with pytest.raises(InputError, match="the check Silent has no caption"):
        registered(Silent)
    with pytest.raises(InputError, match="the check Silent has no caption"):
        checks_of_report([Silent()])
    Silent.caption, Silent.name = "How to read it.", "a/b"
    with pytest.raises(InputError, match="is named 'a/b'"):
        registered(Silent)
    Silent.name = "weights"
    with pytest.raises(InputError, match="there is a check 'weights' already"):
        registered(Silent)
