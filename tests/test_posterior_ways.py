"""``posterior`` with --weighted, --refine, --nuts and --only: one command, one InferenceData."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from groundvae.cli.main import main
from groundvae.inference import arviz as az

GROUPS = {"posterior", "posterior_predictive", "physics_predictive", "log_likelihood", "prior"}
WAYS = {
    "guide": (),
    "weighted": ("--weighted",),
    "refined": ("--refine", "4"),
    "both": ("--refine", "4", "--weighted", "--reprior", "omega=LogNormal(0.5, 0.3)"),
}
FEW = ("--draws", "12", "--predictive-draws", "6", "--threads", "1")


def stored(folder: Path, *arguments: str) -> az.InferenceData:
    out = folder / "p.nc"
    assert main([*arguments, "--out", str(out)]) == 0
    return az.from_netcdf(str(out))


def physics_only(data: Path, run: Path) -> Path:
    """A run of physics alone, fitted for two steps."""
    quick = ["--steps", "2", "--sleep", "0", "--calibrate", "0", "--threads", "1"]
    fit = ["fit", "pendulum", "--variant", "physics-only", "--data", str(data), *quick]
    assert main([*fit, "--out", str(run)]) == 0
    return run


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_groups(way: str, tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), *FEW, *WAYS[way]]
    weights = (tiny.run / "weights.safetensors").read_bytes()
    found = stored(tmp_path, *command, "--only", "7", "3")
    assert set(found.groups()) >= GROUPS
    omega = found["posterior"]["omega"]
    assert omega.dims == ("chain", "draw", "observation")
    assert omega["observation"].values.tolist() == [7, 3]
    np.testing.assert_array_equal(
        found["constant_data"]["omega"], np.load(tiny.data)["omega"][[7, 3]]
    )
    assert ("importance" in found.groups()) == ("--weighted" in WAYS[way])
    assert (tiny.run / "weights.safetensors").read_bytes() == weights


def test_runs_are_mixed_by_their_density_of_what_is_held_out(
    tiny,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = physics_only(tiny.data, tmp_path / "other")
    command = ["posterior", str(tiny.run), "--mix", str(other), "--held-out", str(tiny.data)]
    found = stored(tmp_path, *command, "--data", str(tiny.data), *FEW)
    shown = capsys.readouterr().out
    assert f"{tiny.run}: weight" in shown
    assert f"{other}: weight" in shown
    assert float(found["stacking"]["weight"].sum()) == pytest.approx(1.0)
    assert found["posterior"]["omega"].sizes == {"chain": 1, "draw": 12, "observation": 40}


def test_nuts_gives_the_same_groups_and_its_convergence(
    tiny,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = physics_only(tiny.data, tmp_path / "run")
    command = ["posterior", str(run), "--data", str(tiny.data), "--nuts", "2", "--warmup", "4"]
    found = stored(tmp_path, *command, "--draws", "5", "--only", "1", "--threads", "1")
    assert "R-hat" in capsys.readouterr().out
    assert set(found.groups()) >= GROUPS | {"convergence", "sample_stats"}
    assert found["posterior"]["omega"].sizes == {"chain": 2, "draw": 5, "observation": 1}
    assert set(found["convergence"]) == {"r_hat", "ess_bulk", "ess_tail"}
    assert found["constant_data"]["out_of_distribution"].sizes == {"observation": 1}
    assert found["convergence"]["latent"].values.tolist() == ["omega", "theta0"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--only", "40"), "--only names observation 40, the data have 0 .. 39"),
        (("--only", "1", "1"), "twice"),
        (("--refine", "0"), "steps and rows of a refinement must be 1 or more"),
        (("--nuts", "0"), "chains of NUTS is 0"),
        (("--nuts", "2", "--weighted"), "--nuts samples the model itself"),
        (("--mix", "elsewhere", "--weighted"), "--mix draws from runs as they are"),
        (("--mix", "elsewhere"), "elsewhere"),
        (("--held-out", "held.npz"), "expected --mix"),
    ],
)
def test_bad_requests_are_one_sentence(
    arguments: tuple[str, ...],
    told: str,
    tiny,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), *arguments]
    assert main([*command, "--out", str(tmp_path / "p.nc")]) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ")
    assert "\n" not in shown
    assert told in shown
    assert not (tmp_path / "p.nc").exists()
