"""Every common wrong answer is told what helps with it.

`python tests/test_wrong_answers.py` prints the table of wrong answers and messages.
"""

import importlib
import pkgutil
import re

import pytest
import wrong_answers

from naslora_workbook.lessons import checks

LESSONS = [
    importlib.import_module(f"wrong_answers.{module.name}")
    for module in pkgutil.iter_modules(wrong_answers.__path__)
]
WRONG = [wrong for lesson in LESSONS for wrong in lesson.WRONG]


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def verdict(wrong):
    """What the check says of a wrong answer."""
    return getattr(checks, f"ex_{wrong.number.replace('.', '_')}")(*wrong.answers)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_answer_is_told_what_helps(wrong):
    found = verdict(wrong)
    assert found.state == checks.WRONG
    assert re.search(wrong.told, found.sentence), found.sentence


def test_every_exercise_of_a_listed_lesson_has_two_wrong_answers():
    listed = {wrong.number.split(".")[0] for wrong in WRONG}
    for number in checks.exercises():
        if number.split(".")[0] in listed:
            assert sum(wrong.number == number for wrong in WRONG) >= 2, number


if __name__ == "__main__":
    print("| exercise | wrong answer | message |\n|---|---|---|")
    for each in WRONG:
        print(f"| {each.number} | {each.kind} | {verdict(each).sentence} |")
