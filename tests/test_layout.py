"""The direction of dependencies, and what no package may contain."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "physics": {"physics"},
    "data": {"data", "physics"},
    "models": {"models", "data", "physics"},
    "guides": {"guides", "models", "data", "physics"},
    "inference": {"inference", "guides", "models", "data", "physics"},
    "diagnostics": {"diagnostics", "inference", "guides", "models", "data", "physics"},
    "cli": {"cli", "diagnostics", "inference", "guides", "models", "data", "physics"},
}
SYSTEM_LINES, FILE, FUNCTION = 120, 300, 60
"""Most lines of a system's file, of any, and of a function."""
PYRO_FREE = ("physics", "data")
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def sources(package: str) -> Iterator[tuple[Path, ast.Module]]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, package
    for path in files:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module name that an import statement mentions, ``a`` and ``a.b`` of ``from a``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_imports(package: str, tree: ast.Module) -> list[str]:
    ours = [name for name in imported(tree) if name.startswith("groundvae.")]
    return [name for name in ours if name.split(".")[1] not in MAY_IMPORT[package]]


def unsafe_uses(tree: ast.Module) -> list[str]:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [f.id for f in calls if isinstance(f, ast.Name) and f.id in FORBIDDEN_CALLS]
    loads = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    modules = [name for name in imported(tree) if name.split(".")[0] in FORBIDDEN_MODULES]
    return names + modules + [x for x in loads if x in ("torch.load", "torch.save")]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_dependencies_point_one_way(package: str) -> None:
    found = {str(path): wrong_imports(package, tree) for path, tree in sources(package)}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_each_other_as_groundvae(package: str) -> None:
    tops = {n.split(".")[0] for _, tree in sources(package) for n in imported(tree)}
    assert not tops & set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_nothing_is_evaluated_or_unpickled(package: str) -> None:
    found = {str(path): unsafe_uses(tree) for path, tree in sources(package)}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("package", PYRO_FREE)
def test_physics_and_data_know_nothing_of_pyro(package: str) -> None:
    tops = {n.split(".")[0] for _, tree in sources(package) for n in imported(tree)}
    assert "pyro" not in tops


def test_a_system_is_short() -> None:
    for path, _ in sources("models/systems"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= SYSTEM_LINES, path


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_files_and_functions_are_short(package: str) -> None:
    for path, tree in sources(package):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < FUNCTION, f"{path}: {node.name}"


def asked_for_their_class(tree: ast.Module) -> list[str]:
    """Where the class of a guide is asked for, or whether it has an attribute."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, of = ast.unparse(call.func), [ast.unparse(each) for each in call.args]
        asked = {"hasattr": "guide" in of[0], "isinstance": "Guide" in of[-1]} if of else {}
        if asked.get(name):
            found.append(ast.unparse(call))
    return found


def test_a_question_for_a_guides_class_would_be_found() -> None:
    assert asked_for_their_class(ast.parse("isinstance(run.guide, ModeGuide)"))
    assert asked_for_their_class(ast.parse("hasattr(run.guide, 'first')"))
    assert not asked_for_their_class(ast.parse("isinstance(guide, str)"))


@pytest.mark.parametrize("package", sorted(MAY_IMPORT.keys() - {"guides"}))
def test_guides_are_not_asked_for_their_class(package: str) -> None:
    found = {str(path): asked_for_their_class(tree) for path, tree in sources(package)}
    assert {path: texts for path, texts in found.items() if texts} == {}


def test_every_package_is_declared() -> None:
    declared = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for package in MAY_IMPORT:
        assert f"groundvae.{package} = {package}\n" in declared


@pytest.mark.parametrize(
    "text", ["eval('1')", "import pickle", "torch.load(f)", "from pickle import load"]
)
def test_unsafe_code_would_be_found(text: str) -> None:
    assert unsafe_uses(ast.parse(text))


def test_a_wrong_import_would_be_found() -> None:
    assert wrong_imports("physics", ast.parse("from groundvae import models"))
    assert wrong_imports("models", ast.parse("import groundvae.cli.main"))
