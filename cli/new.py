"""``new``: a commented file that declares a system, and runs as it is."""

from __future__ import annotations

from importlib import resources

from groundvae.cli.commands import New
from groundvae.cli.console import say
from groundvae.data.atomic import replacing
from groundvae.data.errors import InputError


def run(asked: New) -> None:
    if asked.path.suffix != ".py":
        raise InputError(f"{asked.path}: expected a name that ends in .py")
    if asked.path.exists():
        raise InputError(f"{asked.path}: is there already, expected a new name")
    if not asked.path.stem.isidentifier():
        raise InputError(f"{asked.path}: expected a name of letters, digits and _")
    skeleton = resources.files("groundvae.cli") / "skeletons" / f"{asked.kind}.txt"
    text = skeleton.read_text(encoding="utf-8")
    text = text.replace("NAME", asked.path.stem).replace("FILE", str(asked.path))
    with replacing(asked.path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    say(f"{asked.path}: a system that runs as it is; next: check {asked.path}")
