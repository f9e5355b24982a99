"""A written file is the old one or the new one, whole, whatever happens in between."""

import os
import signal
import subprocess
import sys

import pytest

from naslora_core import files
from naslora_core.download import fetch
from naslora_core.errors import UserError
from naslora_core.files import make_folder, write_atomic
from naslora_workbook.research.benchmarks import gpu_steps
from naslora_workbook.research.pretraining import pretrain


def test_text_and_bytes(tmp_path):
    write_atomic(tmp_path / "a", "Dice ≥ ½")
    write_atomic(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "Dice ≥ ½"
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_atomic(tmp_path / "a", "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match=r"could not be written .No space.*is kept; make room"):
        write_atomic(tmp_path / "a", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_kill_between_writing_and_renaming_leaves_the_old_file(tmp_path):
    write_atomic(tmp_path / "a", "old")
    code = (
        "import os, signal, sys; from naslora_core import files;"
        "files.os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL);"
        "files.write_atomic(sys.argv[1], 'new' * 1000)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_is_made_with_those_above_it_unless_a_file_is_there(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir() and make_folder(tmp_path / "a") == (
        tmp_path / "a"
    )
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        with pytest.raises(UserError, match=f"{place} cannot be made a folder .*; name another"):
            make_folder(tmp_path / place)


def test_whoever_keeps_files_says_why_it_has_no_folder(tmp_path):
    """Before anything is downloaded, drawn or computed."""
    (tmp_path / "taken").write_text("")
    for begin in (
        lambda at: gpu_steps.run([], at, "command", "cpu"),
        lambda at: pretrain.run(pretrain.Leg(scenes=2, batch=1), at),
        lambda at: fetch("vit_b", at),
    ):
        with pytest.raises(UserError, match="taken cannot be made a folder"):
            begin(tmp_path / "taken")
