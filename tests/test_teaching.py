"""The teachers' guide names what is there, its questions have one answer, the glossary leads on."""

import re
from functools import cache
from itertools import pairwise

import pytest
from lessons import LESSONS, NAMES, markdown, read

from naslora_workbook.publishing.lesson import NOTEBOOKS
from naslora_workbook.publishing.tables import needs

GUIDE = (NOTEBOOKS / "TEACHING.md").read_text()
GLOSSARY = (NOTEBOOKS / "GLOSSARY.md").read_text()
BLOCKS = dict(
    re.findall(r"^### Lesson (\d\d)\n(.*?)(?=^###? |\Z)", GUIDE, flags=re.MULTILINE | re.DOTALL)
)
ENTRIES = re.findall(r"^\*\*(.+?)\*\* · (.+)$", GLOSSARY, flags=re.MULTILINE)
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)


@cache
def prose(lesson) -> str:
    """All its markdown."""
    return "\n\n".join(cell.source for cell in markdown(read(lesson)))


def headings(lesson) -> list[str]:
    """Every heading below the title."""
    return re.findall(r"^##+ (.+)$", prose(lesson), flags=re.MULTILINE)


def plain_text(text: str) -> str:
    """Line breaks as spaces."""
    return " ".join(text.split())


def rows() -> list[tuple[str, int, int, list[str]]]:
    """Course, minutes, lesson and sections of every row of the course tables."""
    found = []
    for course in GUIDE.partition("## How to run a class")[0].split("\n### ")[1:]:
        for line in re.findall(r"^\|.*\]\(\d\d_.*\|$", course, flags=re.MULTILINE):
            _, minutes, lesson, named, *_ = (cell.strip() for cell in line.strip("|").split(" | "))
            number = int(re.match(r"\[(\d\d)\]", lesson)[1])
            found.append((course.partition("\n")[0], int(minutes), number, named.split("; ")))
    return found


@each_lesson
def test_every_lesson_has_its_block(lesson):
    block = BLOCKS[f"{lesson.number:02d}"]
    assert f"[{lesson.title}]({lesson.path.name}) asks:" in plain_text(block)
    asks = re.search(r"\*\*The question:\*\* (.+?)\n\n", prose(lesson), re.DOTALL)
    assert plain_text(asks[1]).lower() in plain_text(block).lower()
    assert "**When late**" in block
    believed = block.partition("**Students believe**")[2].partition("**Question")[0]
    assert 2 <= len(re.findall(r"^- ", believed, flags=re.MULTILINE)) <= 4


@each_lesson
def test_what_to_cut_and_to_keep_are_sections(lesson):
    """At least three headings are named, exercises by their numbers."""
    late = re.search(r"\*\*When late\*\*, (.+?)\n\n", BLOCKS[f"{lesson.number:02d}"], re.DOTALL)[1]
    known = headings(lesson)
    assert sum(plain_text(h).partition(" - ")[0] in plain_text(late) for h in known) >= 3


@pytest.mark.parametrize("number", BLOCKS)
def test_two_questions_with_one_right_answer_each(number):
    parts = re.split(r"\*\*Question (\d\d[a-z])\.\*\*", BLOCKS[number])[1:]
    assert parts[::2] == [f"{number}a", f"{number}b"]
    for question in parts[1::2]:
        asked, _, fold = question.partition("<details><summary>Answer</summary>")
        assert re.findall(r"^- ([A-Z])\. ", asked, flags=re.MULTILINE) == list("ABCD")
        assert len(re.findall(r"\*\*[A-D]\.\*\*", fold)) == 1 and fold.count("</details>") == 1
        wrong = set("ABCD") - set(re.findall(r"\*\*([A-D])\.\*\*", fold))
        assert all(re.search(rf"\b{letter}( and [A-D])?:|and {letter}:", fold) for letter in wrong)


def test_right_answers_do_not_favour_a_letter():
    right = re.findall(r"^\*\*([A-D])\.\*\* ", GUIDE, flags=re.MULTILINE)
    assert len(right) == 2 * len(BLOCKS)
    assert all(len(right) / 8 <= right.count(letter) <= len(right) / 2 for letter in "ABCD")


def test_courses_name_sections_that_exist():
    known = {lesson.number: headings(lesson) for lesson in LESSONS}
    for _, _, number, named in rows():
        for name in named:
            exercise = re.fullmatch(r"Exercise \d+\.\d+", name)
            assert any(h == name or exercise and h.startswith(f"{name} - ") for h in known[number])


def test_courses_are_as_long_as_they_say():
    total = {}
    for course, minutes, _, _ in rows():
        total[course] = total.get(course, 0) + minutes
    assert total == {"Two hours": 120, "A day": 6 * 60, "Four weeks": 8 * 90}


def test_glossary_is_alphabetical_and_leads_to_lessons():
    terms = [term.casefold() for term, _ in ENTRIES]
    assert len(terms) >= 30 and all(a < b for a, b in pairwise(terms))
    assert len(ENTRIES) == len(re.findall(r"^\*\*", GLOSSARY, flags=re.MULTILINE))
    for term, said in ENTRIES:
        for number, target in re.findall(r"\[(\d\d)\]\((\d\d)_\w+\.ipynb\)", said):
            assert number == target
        assert re.search(r"\]\(\d\d_\w+\.ipynb\)$", said), term


@each_lesson
def test_what_a_lesson_needs_comes_before_it(lesson):
    needed = needs(lesson.opening)
    assert (needed == []) == (lesson.number == 0)
    assert all(number < lesson.number for number in needed)
