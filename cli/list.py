"""``list``: what can be named on the command line; or what a run is."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from groundvae.cli.commands import List
from groundvae.cli.console import say

OURS = Path(__file__).with_name("catalogue.txt")
"""What is registered by this package itself: told without loading any of it, which takes seconds.

A test holds it to ``catalogue.py``; ``make catalogue`` writes it.
"""


def run(asked: List) -> None:
    if asked.run_folder is None and not offered():
        say(OURS.read_text(encoding="utf-8").rstrip())
        return
    from groundvae.cli.catalogue import catalogue, describe
    from groundvae.inference.run import load_run

    known = asked.run_folder
    for line in catalogue() if known is None else describe(load_run(known)):
        say(line)


def offered() -> bool:
    """Whether other installed packages offer anything by entry points."""
    return any(group.startswith("groundvae.") for group in entry_points().groups)
