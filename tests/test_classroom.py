"""Learners' copies: cleared, kept, and restored with a backup."""

import nbformat
import pytest

from naslora_core.errors import UserError
from naslora_workbook.publishing.classroom import hand_out, reset
from naslora_workbook.publishing.lesson import NOTEBOOKS


def test_copies_are_cleared_and_kept(tmp_path):
    folder = tmp_path / "mine"
    (path,) = hand_out(5, folder)
    copy = nbformat.read(path, 4)
    original = nbformat.read(NOTEBOOKS / path.name, 4)
    assert [c.source for c in copy.cells] == [c.source for c in original.cells]
    assert not any(c.get("outputs") for c in copy.cells)
    path.write_text("my answers")
    assert hand_out(5, folder) == [] and path.read_text() == "my answers"
    names = {p.name for p in hand_out(None, folder)}
    assert names == {p.name for p in NOTEBOOKS.glob("*.ipynb")} - {path.name}


def test_reset_backs_up(tmp_path):
    (path,) = hand_out(5, tmp_path / "mine")
    for answers in ("first", "second"):
        path.write_text(answers)
        assert reset(5, path.parent) == path and nbformat.read(path, 4).cells
    kept = sorted((path.parent / "backup").iterdir())
    assert [p.read_text() for p in kept] == ["first", "second"]
    with pytest.raises(UserError, match="which lesson"):
        reset(None, path.parent)
    with pytest.raises(UserError, match="There is no lesson 77"):
        reset(77, path.parent)
