"""Checks: a stub stops nothing, a wrong answer is helped, a right one is remembered."""

import inspect
import json
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lessons import LESSONS, exercises, read

from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.compare import compare


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    path = tmp_path / "solved.json"
    monkeypatch.setenv("NASLORA_SOLVED", str(path))
    return path


def cumulated(x):
    return x.cumsum(0)


def cases(rng):
    return (rng.normal(size=(4, 6)),)


WORDS = {"hint": "Look at the axis.", "proves": "Sums grow downwards.", "axis": "Another axis."}


@pytest.fixture(autouse=True)
def words(monkeypatch):
    said = checks.sentences() | {"97.1": WORDS}
    monkeypatch.setattr(checks, "sentences", lambda: said)


def check(answer):
    return checks.check("97.1", answer, cumulated, cases)


def test_a_stub_stops_nothing_and_writes_nothing(solved):
    def stub(x):
        raise NotImplementedError("Exercise 3.1")

    assert repr(check(stub)) == "Exercise 97.1: not attempted yet"
    assert not solved.exists()


def test_a_right_answer_is_remembered(solved):
    right = check(lambda x: np.add.accumulate(x))
    assert repr(right) == "Exercise 97.1: right. Sums grow downwards."
    checks.check("98.2", cumulated, cumulated, cases)
    check(cumulated)
    assert json.loads(solved.read_text()) == ["97.1", "98.2"]
    assert checks.report()["97.1"][1] and checks.report()["98.2"] == ("", True)
    assert "<td>98.2</td>" in checks.report()._repr_html_()


def test_a_wrong_answer_gets_a_picture_and_a_sentence(solved):
    verdict = check(lambda x: x.cumsum(1))
    assert verdict.state == checks.WRONG and "Target" in repr(verdict)
    assert repr(verdict).endswith("Look at the axis.")
    assert 'alt="Target (4, 6) and yours (4, 6) side by side."' in verdict._repr_html_()
    assert not solved.exists()


def test_a_common_mistake_gets_its_own_sentence():
    verdict = checks.check("97.1", lambda x: x.cumsum(1), cumulated, cases, axis=np.cumsum)
    assert repr(verdict).endswith("Look at the axis.")
    mistakes = {"axis": lambda x: np.cumsum(x, 1)}
    verdict = checks.check("97.1", lambda x: x.cumsum(1), cumulated, cases, **mistakes)
    assert verdict.sentence.startswith("Another axis. Target")


@pytest.mark.parametrize(
    "answer, told",
    [
        (lambda x: x[:2], "shape should be (4, 6), yours is (2, 6)"),
        (lambda x: None, "returned None"),
        (lambda x: x.nothing, "stopped with AttributeError in line"),
        (lambda: 1, "stopped with TypeError"),
        (lambda x: "text", "was expected"),
        (lambda x: x * np.nan, "nan"),
    ],
)
def test_what_is_wrong_is_said(answer, told):
    assert told in repr(check(answer))


@pytest.mark.parametrize(
    "wrap", [list, set, iter, dict.fromkeys, lambda w: {n: 0 for n in w}.keys()]
)
def test_names_may_come_in_whatever_holds_them(wrap):
    assert compare(["a", "b"], wrap(["b", "a"])) == ""
    assert "missing: b" in compare(["a", "b"], wrap(["a"])).lower()


def test_the_line_is_the_learners_even_where_the_check_wraps_the_answer(solved):
    def careless(*given):
        return given.nothing

    line = careless.__code__.co_firstlineno + 1
    for exercise in (checks.ex_3_1, checks.ex_12_2):
        assert f"with AttributeError in line {line} of its cell" in exercise(careless).sentence


def test_an_answer_cannot_spoil_the_target_by_writing_into_its_input():
    def in_place(x):
        x[:] = 0
        return x

    assert check(in_place).state == checks.WRONG


@pytest.mark.parametrize(
    "target, yours, sentence",
    [
        (["a", "b"], ["b", "a"], ""),
        (["a", "b"], ["b", "c"], "Missing: a; too many: c."),
        ("yes", "no", "Target 'yes', yours 'no'."),
        (True, 1, ""),
        (torch.ones(2), np.ones(2), ""),
        ((1, torch.ones(2)), (1, torch.ones(2)), ""),
        (
            (1, torch.ones(2)),
            (1, torch.zeros(2)),
            "Target 1 at [0], yours 0; 100% of the values differ.",
        ),
        ([torch.ones(2)] * 2, torch.ones(2, 2), "2 results were expected, in this order."),
        ([torch.ones(2)] * 2, [torch.ones(2), None], "Result 2 is None."),
        ([torch.ones(2)] * 2, None, "Your function returned None: return the result."),
        ({"a": 1.0}, {"a": None}, "'a' is None."),
        ({"a": 1.0}, {"a": 1.0 + 1e-7}, ""),
        ({"a": 1.0}, {"b": 1.0}, "A dict with the keys a was expected."),
        (np.array([np.nan]), np.array([np.nan]), ""),
    ],
)
def test_results_of_many_kinds_are_compared(target, yours, sentence):
    assert compare(target, yours) == sentence


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(anything)
def test_no_answer_raises(value):
    assert checks.check("3.1", lambda x: value, cumulated, cases).state == checks.WRONG
    assert isinstance(compare([np.ones(2), {"a": 1}], value), str)


def test_exercises_are_found_by_name(monkeypatch):
    lesson = ModuleType("naslora_workbook.lessons.exercises.lesson_99")
    lesson.ex_99_1 = lambda answer: checks.check("99.1", answer, cumulated, cases)
    monkeypatch.setitem(sys.modules, lesson.__name__, lesson)
    assert checks.ex_99_1(cumulated).state == checks.SOLVED
    with pytest.raises(AttributeError, match=r"no exercise 98\.1"):
        _ = checks.ex_98_1


def test_every_mistake_has_a_sentence_and_every_sentence_a_mistake(monkeypatch):
    monkeypatch.setattr(checks, "check", lambda number, *_, **mistakes: (number, mistakes))
    asked = {e.number: e for lesson in LESSONS for e in exercises(read(lesson))}
    for number in asked:
        exercise = getattr(checks, f"ex_{number.replace('.', '_')}")
        answers = [print] * len(inspect.signature(exercise).parameters)
        found, mistakes = exercise(*answers)
        assert found == number
        names = set(mistakes) - {"tolerance", "seen"} | {"hint", "proves"}
        assert names == set(checks.sentences()[number]), number


def test_every_exercise_has_a_title_and_stands_in_the_report():
    assert all(title for title in checks.exercises().values())
    assert sorted(checks.report()) == sorted(checks.exercises())
    asked = [e.number for lesson in LESSONS for e in exercises(read(lesson))]
    assert sorted(checks.exercises()) == sorted(asked)
