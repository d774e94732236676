"""``compare`` over guides, priors and seeds: its table has the IWAE bound, and a figure."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from groundvae.cli import source
from groundvae.cli.compare import Row, ranked
from groundvae.cli.comparison import chosen_metrics, plot_comparison
from groundvae.cli.main import main

KEYS = ("variant", "guide", "prior")


def test_guides_priors_and_seeds_are_crossed_and_drawn(
    tmp_path: Path, small_fit: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size_and_seed in {"TRAIN": (20, 1), "VALID": (10, 2), "TEST": (12, 3)}.items():
        monkeypatch.setattr(source, name, size_and_seed)
    out = tmp_path / "table"
    hierarchical = "omega=Truncated(LogNormal(mu, 0.4), high=4); mu=Normal(0.5, 0.2)"
    command = ["compare", "pendulum", "--out", str(out), "--variants", "physics-only", "--seeds"]
    command += ["0", "1", "--guides", "structured-normal", "joint-flow", *small_fit]
    assert main([*command, "--priors", "default", hierarchical]) == 0
    with (out / "table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    assert [row["failure"] for row in rows] == [""] * 8
    assert all(float(row["iwae"]) >= float(row["elbo"]) for row in rows)
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "table.md").read_text().count("\n") == 2 + 4


def test_a_figure_is_drawn_of_what_did_not_fail(tmp_path: Path) -> None:
    good = {"variant": "a", "guide": "g", "prior": "p", "seed": 0, "iwae": 1.0, "failure": ""}
    bad = {"variant": "b", "guide": "g", "prior": "p", "seed": 0, "failure": "it diverged"}
    assert plot_comparison([good, bad], KEYS, tmp_path / "f.png", {"iwae": "nats"})
    assert not plot_comparison([bad], KEYS, tmp_path / "g.png", {})
    assert (tmp_path / "f.png").is_file()
    assert not (tmp_path / "g.png").exists()


def test_general_metrics_come_first() -> None:
    row = dict.fromkeys(["omega_mae", "reconstruction_mae", "iwae", "reconstruction_sse"], 1.0)
    assert chosen_metrics([dict(row)], list(row)) == ["reconstruction_sse", "iwae", "omega_mae"]


def test_groups_are_ranked_by_evidence_and_by_the_bound_where_one_lacks_it() -> None:
    def row(iwae: float, **more: float) -> Row:
        return {"failure": "", "iwae": iwae, **more}

    groups = {
        ("a",): [row(3.0, log_evidence=1.0), row(3.0, log_evidence=2.0)],
        ("b",): [row(1.0, log_evidence=4.0)],
        ("c",): [{"failure": "it failed"}],
    }
    assert [key for key, _ in ranked(groups)] == [("b",), ("a",), ("c",)]
    groups["d",] = [row(2.0)]
    assert [key for key, _ in ranked(groups)] == [("a",), ("d",), ("b",), ("c",)]
