"""Guide options: from the command line into the networks, saved with the run, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from groundvae.cli.main import main
from groundvae.data.errors import InputError
from groundvae.guides.catalogue import GUIDES, build_guide
from groundvae.guides.options import KNOWN, GuideOptions, guide_options
from groundvae.inference.run import RunConfig, load_run, new_run
from groundvae.models.ownfile import find_system

REG = ("--variant", "hybrid-told")
FLOW = ("--guide", "joint-flow", "--guide.transforms", "4", "--guide.width", "32")


def test_options_are_saved_with_the_run_and_restored(
    tmp_path: Path, small_fit: tuple[str, ...]
) -> None:
    data, out = str(tmp_path / "d.npz"), tmp_path / "run"
    assert main(["simulate", "pendulum", "--n", "20", "--out", data]) == 0
    command = ["fit", "pendulum", "--data", data, "--out", str(out), *FLOW, *small_fit]
    assert main(command) == 0
    run = load_run(out)
    assert guide_options(run.config.how.guide_options) == GuideOptions(transforms=4, width=32)
    assert len(run.guide.family.flow.layers) == 4  # type: ignore[union-attr]
    # A recipe of before there were options is one with the usual ones.
    plain = tmp_path / "plain"
    new_run(RunConfig("pendulum", 50, "hybrid-told")).save(plain)
    config = json.loads((plain / "config.json").read_text())
    del config["recipe"]["guide_options"]
    (plain / "config.json").write_text(json.dumps(config))
    assert guide_options(load_run(plain).config.how.guide_options) == GuideOptions()


@pytest.mark.parametrize("name", [name for name in GUIDES if name != "modes"])
def test_every_option_changes_the_guide(name: str) -> None:
    model = find_system("pendulum").build()
    usual = sum(p.numel() for p in build_guide(name, model, 50).parameters())
    values = {"width": 16, "blocks": 1}
    if name.endswith("flow"):
        values |= {"transforms": 5, "hidden": 8, "bins": 4}
    for key, value in values.items():
        guide = build_guide(name, model, 50, GuideOptions(**{key: value}))
        assert sum(p.numel() for p in guide.parameters()) != usual, key


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--guide.depth", "3"), f"guide options: {', '.join(KNOWN)}"),
        (("--guide.transforms", "3"), "no option 'transforms', known: rounds, width, blocks"),
        (
            ("--guide", "structured-normal", "--guide.rounds", "3"),
            "no option 'rounds', known: width, blocks",
        ),
        (("--guide.width", "0"), "width of the guide is 0, expected a whole number"),
        (("--guide.width", "x"), "--guide.width"),
    ],
)
def test_a_bad_option_is_one_sentence(
    arguments: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "pendulum", *REG, "--out", str(tmp_path / "r"), *arguments]) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ")
    assert "\n" not in shown
    assert told in shown
    assert not (tmp_path / "r").exists()


def test_an_unknown_option_from_python_lists_the_known() -> None:
    with pytest.raises(InputError, match="no guide option 'depth', known: width"):
        guide_options({"depth": 3})
    assert guide_options(asdict(GuideOptions(bins=5))) == GuideOptions(bins=5)
