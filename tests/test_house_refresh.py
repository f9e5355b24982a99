"""Committed notebooks are made from their scripts: executed when code changes, and clean."""

import json

import nbformat
import pytest
from lessons import sources

from naslora_core.errors import UserError
from naslora_workbook.publishing.refresh import METADATA, refresh

SCRIPT = """\
# %% [markdown]
# # 00 · Try it

# %% tags=["parameters"]
SEED = 0

# %%
with open("runs", "a") as file:
    file.write("x")
print("a")
print("b")

# %%
import ipywidgets
import matplotlib.pyplot as plt

plt.plot([1, 2])
plt.show()
ipywidgets.IntSlider()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A lesson that counts its executions in a file, after one refresh."""
    folder = tmp_path_factory.mktemp("refresh")
    (folder / "text").mkdir()
    (folder / "text" / "00_try.py").write_text(SCRIPT)
    assert refresh(notebooks=folder) == 0
    return folder


def runs(folder) -> int:
    return len((folder / "runs").read_text())


def test_a_notebook_is_executed_and_clean(folder):
    notebook = nbformat.read(folder / "00_try.ipynb", 4)
    assert notebook.metadata == METADATA
    assert [c.execution_count for c in notebook.cells if c.cell_type == "code"] == [1, 2, 3]
    assert [c.metadata for c in notebook.cells] == [{}, {"tags": ["parameters"]}, {}, {}]
    assert notebook.cells[2].outputs[0].text == "a\nb\n"
    picture, slider = notebook.cells[3].outputs
    assert "Matplotlib" not in str(picture.data["image/png"])
    assert set(slider.data) == {"text/plain"}
    assert "widgets" not in json.dumps(notebook.metadata)


def test_nothing_happens_twice(folder):
    before, count = (folder / "00_try.ipynb").stat().st_mtime_ns, runs(folder)
    assert refresh(notebooks=folder) == 0
    assert ((folder / "00_try.ipynb").stat().st_mtime_ns, runs(folder)) == (before, count)


def test_changed_prose_takes_over_the_outputs(folder):
    text, count = folder / "text" / "00_try.py", runs(folder)
    text.write_text(text.read_text().replace("Try it", "Try it again"))
    old = nbformat.read(folder / "00_try.ipynb", 4)
    assert refresh(notebooks=folder) == 0
    new = nbformat.read(folder / "00_try.ipynb", 4)
    assert new.cells[0].source == "# 00 · Try it again"
    assert new.cells[2:] == old.cells[2:]
    assert runs(folder) == count


def test_changed_code_is_executed_and_ids_stay(folder):
    text, count = folder / "text" / "00_try.py", runs(folder)
    old = nbformat.read(folder / "00_try.ipynb", 4)
    text.write_text(text.read_text().replace("SEED = 0", "SEED = 1"))
    assert refresh(notebooks=folder) == 0
    new = nbformat.read(folder / "00_try.ipynb", 4)
    assert runs(folder) == count + 1
    assert [a.id == b.id for a, b in zip(old.cells, new.cells, strict=True)] == [1, 0, 1, 1]
    assert sources(new)[1] == ("code", "SEED = 1", ["parameters"])


def test_a_failing_lesson_leaves_its_notebook_alone(folder, capsys):
    text, before = folder / "text" / "00_try.py", (folder / "00_try.ipynb").read_bytes()
    good = text.read_text()
    text.write_text(good + "\n# %%\n1 / 0\n")
    assert refresh(notebooks=folder) == 1
    text.write_text(good)
    assert "00_try: FAILED in cell [4] `1 / 0`: ZeroDivisionError" in capsys.readouterr().err
    assert (folder / "00_try.ipynb").read_bytes() == before


def test_a_number_without_a_script_is_told(folder):
    with pytest.raises(UserError, match="no text of a lesson 07"):
        refresh(7, folder)
