"""The house: imports point one way, and one image and one alpha pass few files."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from own import image_folder

from naslora_core import NASLoRA, adapt, fit, folder, load_sam
from naslora_core.data import Sample
from naslora_workbook.publishing.environment import ROOT

DOWN = ["errors", "files", "download", "sam", "data", "search", "adapters", "training", "cli"]
DRAWING = {"matplotlib", "plotly", "IPython", "ipywidgets", "papermill", "nbformat"}
CORE = sorted((ROOT / "naslora_core").rglob("*.py"))


def imports_of(file: Path) -> list[str]:
    """Every module that a file imports, at its top or inside a function."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("file", CORE, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_of_the_core_point_down(file):
    room = file.relative_to(ROOT / "naslora_core").parts[0].removesuffix(".py")
    for name in imports_of(file):
        parts = name.split(".")
        assert parts[0] not in DRAWING, name
        assert parts[0] != "naslora_workbook" or file.name == "__main__.py", name
        if parts[0] == "naslora_core" and len(parts) > 1 and {room, parts[1]} <= set(DOWN):
            assert DOWN.index(parts[1]) <= DOWN.index(room), name


def test_figures_import_no_lesson():
    for file in (ROOT / "naslora_workbook" / "figures").glob("*.py"):
        assert not [n for n in imports_of(file) if n.startswith("naslora_workbook.lessons")], file


def carries_an_image(value) -> bool:
    """A sample, a picture, tokens or logits; no parameter."""
    if isinstance(value, torch.nn.Parameter):
        return False
    shaped = isinstance(value, np.ndarray | torch.Tensor) and value.ndim >= 3
    return isinstance(value, Sample) or (shaped and 1024 <= np.prod(value.shape))


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    """Files whose functions take an image, and files whose functions name alpha, in a search of
    three steps: the image in the second step, alpha from there to the saved genotype."""
    data = folder(image_folder(tmp_path_factory.mktemp("house") / "data", count=12))
    model, files = adapt(load_sam(), NASLoRA(rank=2)), {"image": set(), "alpha": set()}
    one_step = []

    def note(frame, event, _):
        code, file = frame.f_code, Path(frame.f_code.co_filename)
        if event != "call" or ROOT / "naslora_core" not in file.parents:
            return
        if not one_step and any(map(carries_an_image, list(frame.f_locals.values()))):
            files["image"].add(file.name)
        if any("alpha" in name for name in (*code.co_names, *code.co_varnames)):
            files["alpha"].add(file.name)

    def listen(event):
        one_step.extend([True] * (event["step"] > 1))
        sys.setprofile(note)

    out = tmp_path_factory.mktemp("house") / "run"
    fit(model, data, "joint", steps=3, batch=2, progress=False, on_event=listen, out=out)
    sys.setprofile(None)
    return {what: sorted(names) for what, names in files.items()}


def test_an_image_passes_few_files_in_one_step(passed):
    assert 5 <= len(passed["image"]) <= 10, passed["image"]


def test_an_alpha_passes_few_files(passed):
    assert 4 <= len(passed["alpha"]) <= 9, passed["alpha"]
