"""The reference page: what is public, from its docstrings. A hook of mkdocs."""

from __future__ import annotations

import inspect
import re
from typing import Any

import groundvae

PAGE = "reference.md"
SECTIONS = ("Args", "Raises", "Returns", "Attributes", "Examples", "Yields")
ITEM = re.compile(r"^    (\w[\w, ]*): (.*)$")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text, with all public names below it."""
    if page.file.src_uri != PAGE:
        return markdown
    return "\n\n".join([markdown, *(entry(name) for name in groundvae.__all__)])


def entry(name: str) -> str:
    """A public name: how it is called, and what its docstring says."""
    thing = getattr(groundvae, name)
    if not thing.__module__.startswith("groundvae."):
        return f"## gv.{name}\n\nA distribution of Pyro's, for priors."
    parts = [f"## gv.{name}", called(name, thing), formatted(inspect.getdoc(thing) or "")]
    if isinstance(thing, type):
        for each, member in vars(thing).items():
            if inspect.isfunction(member) and not each.startswith("_") and member.__doc__:
                parts += [f"### {name}.{each}", called(each, member), formatted(told(member))]
    return "\n\n".join(parts)


def called(name: str, thing: Any) -> str:
    """Its signature, without the modules of annotations."""
    try:
        signature = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""
    return f"```text\n{name}{signature}\n```"


def told(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def formatted(docstring: str) -> str:
    """A docstring in Google's style as Markdown."""
    lines, example, section = [], False, ""
    for line in docstring.splitlines():
        if line.rstrip(":") in SECTIONS and line.endswith(":"):
            section = line.rstrip(":")
            lines += ["", f"**{section}**", ""]
            continue
        item = ITEM.match(line) if section in ("Args", "Raises", "Attributes") else None
        code = line.lstrip().startswith((">>>", "..."))
        if code or (example and line.strip()):
            lines += [] if example else ["", "```text"]
            lines.append(line.strip())
            example = True
            continue
        if example:
            lines += ["```", ""]
            example = False
        lines.append(f"- `{item[1]}`: {item[2]}" if item else line.strip() if section else line)
    return "\n".join([*lines, *(["```"] if example else [])])
