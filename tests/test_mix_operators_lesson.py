"""Lesson 07: its checks name each planted bug, its figures and counts read known cells."""

import time

import pytest
import torch
import torch.nn.functional as F
from lessons import LESSONS, exercises, read

from naslora_core.search import OPERATOR_SETS, Cell
from naslora_core.search.operators import build
from naslora_workbook.figures import mixing
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_07 import over_maps, reference_alarm, suspects
from naslora_workbook.research.benchmark import interleaved
from naslora_workbook.research.counting import convolutions

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


def padded(kernels, where):
    side = max(k.shape[-1] for k in kernels)
    return [F.pad(k, where(side - k.shape[-1])) for k in kernels]


def centred(missing):
    return (missing // 2,) * 4


def top_left(kernels, weights):
    cornered = padded(kernels, lambda missing: (0, missing) * 2)
    return sum(w * k for w, k in zip(weights, cornered, strict=True))


def twice_softmax(kernels, weights):
    pairs = zip(weights.softmax(0), padded(kernels, centred), strict=True)
    return sum(w * k for w, k in pairs)


def detached(kernels, weights):
    pairs = zip(weights.detach(), padded(kernels, centred), strict=True)
    return sum(w * k for w, k in pairs)


@pytest.mark.parametrize("answer", [top_left, twice_softmax, detached])
def test_a_wrong_mix_is_found_and_shown(answer):
    verdict = checks.ex_7_1(answer)
    assert verdict.state == checks.WRONG and "centre of the largest" in verdict.sentence
    assert verdict.picture


def test_a_mix_that_returns_nothing_is_told_so():
    assert "returned None" in checks.ex_7_1(lambda kernels, weights: None).sentence


def test_shuffling_twice_is_not_the_way_back():
    def again(Wd, groups):
        return shuffle(Wd, groups)

    assert checks.ex_7_2(again).state == checks.WRONG
    assert checks.ex_7_2(lambda Wd, groups: Wd).state == checks.WRONG


def test_each_mixer_has_its_bug_and_agrees_in_the_middle_of_a_flat_map():
    said = {n: reference_alarm(m, torch.randn(1, 3, 8, 9)) for n, m in suspects().items()}
    assert said == {"A": "border", "B": "shifted", "C": "honest", "D": "no softmax"}
    with torch.no_grad():
        first = [m(torch.ones(1, 3, 9, 9))[0, :, 4, 4] for m in suspects().values()]
    assert all(torch.allclose(y, first[0], atol=1e-5) for y in first)


def trusting(mixer, z):
    said = reference_alarm(mixer, z)
    return "honest" if said == "no softmax" else said


def blind_to_borders(mixer, z):
    said = reference_alarm(mixer, z)
    return "honest" if said == "border" else said


@pytest.mark.parametrize("answer", [trusting, blind_to_borders])
def test_an_alarm_that_sleeps_is_found(answer):
    verdict = checks.ex_7_3(answer)
    assert verdict.state == checks.WRONG and "does not notice a constant" in verdict.sentence


def test_convolutions_are_counted():
    cell, z = Cell(2), torch.randn(1, 2, 5, 5)
    assert (convolutions(cell, z), convolutions(cell.mix_maps, z)) == (1, 9)
    times = interleaved({"cell": lambda: cell(z)}, rounds=3, clock=time.process_time)
    assert len(times["cell"]) == 3 and min(times["cell"]) > 0


def test_figures_say_what_they_show():
    shown = mixing.candidates(build(OPERATOR_SETS["linear"], 2)).alt
    assert "between 0 and 25 tokens: none 0, skip 1" in shown and "dil_conv_3x3 9" in shown
    times = {("maps", 3): [2, 9], ("maps", 9): [6, 7], ("kernels", 3): [1], ("kernels", 9): [1.1]}
    assert "3.0 times as long (maps), 1.1 times as long (kernels)" in mixing.price(times).alt


def test_alphas_are_drawn_without_changing_the_cell(monkeypatch):
    cell, z = Cell(2, ("none", "skip", "avg_pool_3x3"), "plain"), torch.randn(1, 2, 6, 6)
    before = cell.arch_alpha.clone()
    monkeypatch.setenv("NASLORA_STATIC", "panel")
    drawn = mixing.alphas(cell, z, raised=("skip",)).alt
    assert "(equal)" in drawn and "(skip)" in drawn
    monkeypatch.setenv("NASLORA_STATIC", "frames")
    assert mixing.alphas(cell, z).labels == ["equal", *cell.names]
    assert torch.equal(cell.arch_alpha, before)
    assert type(mixing._sliders(cell, z)).__name__ == "VBox"


def test_rows_are_a_table():
    page = mixing.Rows({"a<b": {"cost": 3}})._repr_html_()
    assert "<th></th><th>cost</th>" in page and "<td>a&lt;b</td><td>3</td>" in page
