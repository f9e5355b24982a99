"""Lesson 12: its figures say what was put in, its checks tell the faults that they hunt."""

import numpy as np
import pytest
from lessons import LESSONS, exercises, read

from naslora_workbook.figures import evidence, ledger, registered
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


def test_the_registered_leads_are_drawn_and_told():
    row = {"all": Interval(0.1, 0.0, 0.2), "test": Interval(0.2, 0.1, 0.3)}
    row |= {"polyp": Interval(0.0, -0.1, 0.1), "vessel": Interval(0.2, 0.1, 0.3)}
    picture = registered.leads({"LoRA": row}, {"a": True, "b": False}, ("vessel",), "LoRA")
    assert picture.alt.startswith("1 of 2 claims of the goal hold. NAS-LoRA minus each rival")
    assert "LoRA +0.100 (+0.000 to +0.200), test domains +0.200" in picture.alt


def test_differences_name_what_excludes_zero_and_curves_their_means():
    rows = {"a": Interval(0.2, 0.1, 0.3), "b": Interval(0.0, -0.1, 0.1)}
    assert evidence.differences(rows, "IoU").alt.startswith("a: better. a +0.200")
    alt = evidence.over({"LoRA": {4: [0.1, 0.3], 256: [0.6]}}, "images", "More is better").alt
    assert alt == "More is better. Means: LoRA: 0.200 at 4, 0.600 at 256."
