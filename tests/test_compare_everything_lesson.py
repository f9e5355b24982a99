"""Lesson 12: its figures say what was put in, its checks tell the faults that they hunt."""

from itertools import combinations

import numpy as np
import plotly.graph_objects as go
import pytest
from lessons import LESSONS, exercises, read
from matplotlib.text import Text

from naslora_workbook.figures import ledger, registered
from naslora_workbook.figures.ledger import beside
from naslora_workbook.figures.theme import canvas
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_12 import counted, reported, runs
from naslora_workbook.research.benchmarks.method_costs import parameters
from naslora_workbook.research.bootstrap import Interval

LESSON = next(lesson for lesson in LESSONS if lesson.number == 12)


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


@pytest.mark.parametrize("exercise", exercises(read(LESSON)), ids=lambda e: e.number)
def test_solutions_are_right(exercise):
    names = {"np": np, "defaultdict": __import__("collections").defaultdict}
    exec(exercise.solution, names)
    check = getattr(checks, f"ex_{exercise.number.replace('.', '_')}")
    answer = next(names[n] for n in ("count", "paired_interval", "honest") if n in names)
    assert check(answer).state == checks.SOLVED


def test_counting_modules_agrees_with_whole_models():
    found = counted(160, 6, 10, 3, 8)
    assert found == {"VPT": parameters("sam_nano", "vpt"), "Conv-LoRA": 15840}
    assert found["Conv-LoRA"] == parameters("sam_nano", "conv_lora")


def flattering(records, by="test", drops=True):
    tried = {}
    for r in records:
        if r["test"] > 0 or not drops:
            tried.setdefault(r["method"], {}).setdefault(r["lr"], []).append((r[by], r["test"]))
    return {
        m: float(max(np.mean(v, 0).tolist() for v in of.values())[1]) for m, of in tried.items()
    }


def test_who_tries_more_rates_looks_better_only_when_it_chooses_by_test():
    studies = [runs(np.random.default_rng(i)) for i in range(200)]
    hasty, honest = (
        [np.mean([f(study)[m] for study in studies]) for m in "ad"] for f in (flattering, reported)
    )
    assert hasty[1] - hasty[0] > 0.01 and honest[1] < hasty[1]


def test_the_places_name_the_fullest_one():
    rows = {"LoRA": {"qkv": (15360, False), "decoder": (7, True)}, "LST": {"decoder": (7, True)}}
    assert "1 of 2 train in qkv" in ledger.touched(rows, ("qkv", "decoder")).alt
    assert [ledger.brief(n) for n in (12, 1920, 99_600, 1_234_567)] == [
        "12",
        "1.9k",
        "100k",
        "1.2M",
    ]


def test_intervals_above_are_counted():
    gains = {"polyp": {"NAS-LoRA": np.array([0.1, 0.2]), "LST": np.array([-0.1, 0.1])}}
    ends = {"polyp": {"NAS-LoRA": (0.05, 0.2), "LST": (-0.2, 0.2)}}
    picture = ledger.against(gains, ends, {"polyp": {"floor": -0.3}}, "LoRA")
    assert "better than LoRA: 1 of 2 on polyp" in picture.alt


def test_the_live_scatter_is_a_plotly_figure_with_a_picture_beside_it():
    prices = {"decoder-only": {"numbers": 0, "step": 0.4}, "LoRA": {"numbers": 15360, "step": 1.0}}
    scores = {"polyp": {"decoder-only": 0.2, "LoRA": 0.5}}
    front = {"polyp": ["LoRA", "decoder-only"]}
    live = ledger.bargains(prices, scores, front, {"polyp": {"U-Net": 0.4}})
    figure = go.Figure(live._repr_mimebundle_()[ledger.PLOTLY])
    assert list(figure.data[0].x) == [ledger.NONE_AT, 15360]
    assert [b.label for b in figure.layout.updatemenus[0].buttons] == ["numbers", "step"]
    assert live._repr_png_()[1]["alt"].startswith("Methods that no other")


def test_names_beside_points_cover_nothing():
    figure, ((ax,),) = canvas(height=3)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.plot([0.2, 0.8], [0.5, 0.5])
    beside(ax, {f"name {i}": (0.5 + 0.01 * i, 0.5 + 0.02 * i) for i in range(6)}, bold=["name 2"])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(t) for t in ax.texts]  # without the joining line
    assert len(boxes) == 6 and not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    line = ax.lines[0].get_path().transformed(ax.transData)
    assert not any(line.intersects_bbox(box, filled=False) for box in boxes)


def test_rates_say_what_they_were_given():
    tried = {"LoRA": {0.003: 0.5, 0.01: 0.0}, "LST": {0.003: 0.1}}
    assert ledger.rates(tried, "a title").alt.startswith("a title")


def test_the_registered_leads_are_drawn_and_told():
    row = {"all": Interval(0.1, 0.0, 0.2), "test": Interval(0.2, 0.1, 0.3)}
    row |= {"polyp": Interval(0.0, -0.1, 0.1), "vessel": Interval(0.2, 0.1, 0.3)}
    picture = registered.leads({"LoRA": row}, {"a": True, "b": False}, ("vessel",), "LoRA")
    assert picture.alt.startswith("1 of 2 claims of the goal hold. NAS-LoRA minus each rival")
    assert "LoRA +0.100 (+0.000 to +0.200), test domains +0.200" in picture.alt
