"""Lesson 07: its checks name each planted bug, its figures and counts read known cells."""

import time

import pytest
import torch
import torch.nn.functional as F
from lessons import LESSONS, exercises, read

from naslora_core.search import OPERATOR_SETS, Cell
from naslora_core.search.operator_registry import build
from naslora_workbook.figures import mixing
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_07 import (
    mixed_kernels,
    over_maps,
    reference_alarm,
    suspects,
)
from naslora_workbook.research.benchmarks.measurement import convolutions, interleaved

LESSON = next(lesson for lesson in LESSONS if lesson.number == 7)


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def shuffle(z, groups):
    return z.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


@pytest.mark.parametrize("exercise", exercises(read(LESSON)), ids=lambda e: e.number)
def test_every_solution_passes(exercise):
    known = {"torch": torch, "F": F, "over_maps": over_maps, "shuffle": shuffle}
    before = set(known)
    exec(exercise.solution, known)
    (answer,) = (known[n] for n in set(known) - before - {"__builtins__"})
    check = getattr(checks, f"ex_{exercise.number.replace('.', '_')}")
    assert check(answer).state == checks.SOLVED


def test_each_mixer_has_its_bug_and_agrees_in_the_middle_of_a_flat_map():
    said = {n: reference_alarm(m, torch.randn(1, 3, 8, 9)) for n, m in suspects().items()}
    assert said == {"A": "border", "B": "shifted", "C": "honest", "D": "no softmax"}
    with torch.no_grad():
        first = [m(torch.ones(1, 3, 9, 9))[0, :, 4, 4] for m in suspects().values()]
    assert all(torch.allclose(y, first[0], atol=1e-5) for y in first)


def test_mixed_kernels_are_mixed_maps():
    g = torch.Generator().manual_seed(0)
    kernels = [torch.randn(3, 3, k, k, generator=g) for k in (1, 5, 3)]
    weights, z = torch.randn(3, generator=g), torch.randn(2, 3, 6, 7, generator=g)
    kernel = mixed_kernels(kernels, weights)
    assert torch.allclose(F.conv2d(z, kernel, padding=2), over_maps(kernels, weights, z), atol=1e-4)


def test_convolutions_are_counted():
    cell, z = Cell(2), torch.randn(1, 2, 5, 5)
    assert (convolutions(cell, z), convolutions(cell.mix_maps, z)) == (1, 9)
    times = interleaved({"cell": lambda: cell(z)}, rounds=3, clock=time.process_time)
    assert len(times["cell"]) == 3 and min(times["cell"]) > 0


def test_figures_say_what_they_show():
    shown = mixing.candidates(build(OPERATOR_SETS["linear"], 2)).alt
    assert "none 0, skip 1" in shown and "dil_conv_3x3 9" in shown
    times = {("maps", 3): [2, 9], ("maps", 9): [6, 7], ("kernels", 3): [1], ("kernels", 9): [1.1]}
    assert "x 3.0 for maps and x 1.1 for kernels" in mixing.price(times).alt
    assert "1.5" in mixing.tap_steps(torch.ones(5, 5), torch.full((5, 5), 1.5)).alt


def test_alphas_are_drawn_without_changing_the_cell(monkeypatch):
    cell, z = Cell(2, ("none", "skip", "avg_pool_3x3"), "plain"), torch.randn(1, 2, 6, 6)
    before = cell.arch_alpha.clone()
    monkeypatch.setenv("NASLORA_STATIC", "panel")
    drawn = mixing.alphas(cell, z, raised=("skip",)).alt
    assert "(equal)" in drawn and "(skip)" in drawn
    monkeypatch.setenv("NASLORA_STATIC", "frames")
    frames = mixing.alphas(cell, z).data
    assert all(name in frames for name in ("equal", *cell.names))
    assert torch.equal(cell.arch_alpha, before)
    assert type(mixing._sliders(cell, z)).__name__ == "VBox"


def test_rows_are_a_table():
    page = mixing.Rows({"a<b": {"cost": 3}})._repr_html_()
    assert "<th></th><th>cost</th>" in page and "<td>a&lt;b</td><td>3</td>" in page
