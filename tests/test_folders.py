"""Files are replaced one by one, nothing else in a folder is touched, and no fit is lost."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from groundvae.cli.main import main
from groundvae.data.atomic import digest_of, read_together, replacing, write_together
from groundvae.data.errors import InputError
from groundvae.inference import keeping
from groundvae.inference.checkpoint import FILE as CHECKPOINT
from groundvae.inference.checkpoint import Checkpoint
from groundvae.inference.folder import alone_in, check_folder
from groundvae.inference.run import Run, load_run

if TYPE_CHECKING:
    from tests.conftest import Tiny

SHORT = ("--steps", "2", "--sleep", "0", "--calibrate", "0", "--batch-size", "10", "--threads", "1")


def fit(tiny: Tiny, out: str | Path, *options: str) -> int:
    variant = () if "--variant" in options else ("--variant", "hybrid-told")
    command = ["fit", "pendulum", "--data", str(tiny.data), "--out", str(out), *SHORT]
    return main([*command, *variant, *options])


def test_overwriting_here_leaves_everything_else(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fit(tiny, ".") == 0
    Path("thesis.tex").write_text("years of work", encoding="utf-8")
    Path("figures").mkdir()
    inode = tmp_path.stat().st_ino
    assert fit(tiny, ".", "--overwrite", "--variant", "physics-only") == 0
    assert load_run(tmp_path).config.variant == "physics-only"
    assert Path("thesis.tex").read_text(encoding="utf-8") == "years of work"
    assert Path("figures").is_dir()
    assert tmp_path.stat().st_ino == inode
    assert not list(tmp_path.glob(".*"))


def test_a_link_is_followed_and_stays_one(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to("disk")
    assert fit(tiny, tmp_path / "run") == 0
    assert (tmp_path / "run").is_symlink()
    assert load_run(tmp_path / "disk").fit.stop == "finished"
    (tmp_path / "old.txt").write_text("old", encoding="utf-8")
    (tmp_path / "name.txt").symlink_to("old.txt")
    with replacing(tmp_path / "name.txt") as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert (tmp_path / "name.txt").is_symlink()
    assert (tmp_path / "old.txt").read_text(encoding="utf-8") == "new"


def test_a_link_to_nothing_is_refused(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").symlink_to("gone")
    assert fit(tiny, tmp_path / "run") == 2
    assert "is a link to nothing" in capsys.readouterr().err


def test_a_folder_that_another_fit_writes_to_is_refused(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone_in(tmp_path / "run"):
        assert fit(tiny, tmp_path / "run") == 2
    assert "another fit is writing to it" in capsys.readouterr().err
    assert fit(tiny, tmp_path / "run") == 0


def no_space(*arguments: object) -> None:
    raise InputError("run: cannot be written (No space left on device)")


def test_a_fit_killed_at_its_first_checkpoint_leaves_a_folder_that_is_free(tmp_path: Path) -> None:
    (tmp_path / f".{CHECKPOINT}.new").write_bytes(b"half of one")
    check_folder(tmp_path, overwrite=False)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="exists already"):
        check_folder(tmp_path, overwrite=False)


def test_a_full_disk_is_found_out_before_the_fit(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Checkpoint, "write", no_space)
    assert fit(tiny, tmp_path / "run") == 2
    told = capsys.readouterr().err
    assert "No space left" in told
    assert "wake 2/2" not in told


def test_a_disk_that_fills_during_the_fit_loses_no_fit(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    as_usual, written = Checkpoint.write, Run.write

    def full_later(self: Checkpoint, folder: Path) -> None:
        if (folder / keeping.FILE).exists():
            no_space()
        as_usual(self, folder)

    def full_there(self: Run, folder: Path) -> None:
        if folder == out:
            no_space()
        written(self, folder)

    monkeypatch.setattr(Checkpoint, "write", full_later)
    monkeypatch.setattr(Run, "write", full_there)
    assert fit(tiny, out) == 0
    shown = capsys.readouterr()
    assert shown.err.count("no checkpoint any more") == 1
    assert f"run saved to {out}-2" in shown.out
    assert load_run(Path(f"{out}-2")).fit.stop == "finished"


def test_permissions_are_those_of_the_umask(tiny: Tiny, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert fit(tiny, tmp_path / "run") == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()}
    assert modes == {0o640}


def test_a_reader_finds_all_new_files_though_the_writer_was_stopped_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = {"index": b"2", "a": b"new a", "b": b"new b"}
    write_together(tmp_path, {"index": b"1", "a": b"old a", "b": b"old b"}, "index")
    replace, done = Path.replace, []

    def stopped(self: Path, target: Path) -> Path:
        if len(done) == 2:  # of the three
            raise KeyboardInterrupt
        done.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path, new, "index")
    assert (tmp_path / "b").read_bytes() == b"old b"
    for name in ("a", "b"):
        assert read_together(tmp_path, name, digest_of(new[name])) == new[name]


def test_what_cannot_be_written_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_together(tmp_path, {"index": b"1", "a": b"old"}, "index")

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        write_together(tmp_path, {"index": b"2", "a": b"new"}, "index")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "index": b"1",
        "a": b"old",
    }
