"""How many minutes a lesson takes to read and to run once: an estimate from its text."""

import re
from functools import cache

import nbformat

from naslora_workbook.publishing.lesson import SETUP_CELL, Lesson

WORDS_A_MINUTE = 150
PREDICTION = 2  # minutes for each box "Predict first"
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)
MINUTES = re.compile(r"^\*\*Minutes\*\*, .*$", re.MULTILINE)
HEADING = re.compile(r"^###? (.+)$", re.MULTILINE)
NEEDED = re.compile(r"^(# \|.*\]\(\d\d_.* \| )\d+( \|)$", re.MULTILINE)


def by_section(notebook) -> dict[str, float]:
    """Minutes of every section; `opening` is before the first heading, `end` from the recap on."""
    section, found = "opening", {"opening": 0.0}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found[section] += _runs(cell.source)
            continue
        before, *parts = HEADING.split(FOLDED.sub("", cell.source))
        found[section] += _prose(before)
        for heading, text in zip(parts[::2], parts[1::2], strict=True):
            section = "end" if section == "end" or heading == "Recap" else heading
            found[section] = found.get(section, 0) + _prose(text)
    return found


def _runs(source: str) -> int:
    """A minute for a code cell; none for imports and for an exercise, which names its own."""
    return not (imports_alone(source) or re.search(r'Error\("Exercise |^checks\.ex_', source, re.M))


def _prose(text: str) -> float:
    """Minutes to read a text, to make its predictions, and for the exercise that it asks."""
    asked = sum(int(n) for n in re.findall(r"^(\d+) minutes ·", text, re.MULTILINE))
    return len(text.split()) / WORDS_A_MINUTE + PREDICTION * text.count("**Predict first") + asked


def total(notebook) -> int:
    """Minutes of a whole lesson, to the next five."""
    return 5 * round(sum(by_section(notebook).values()) / 5)


@cache
def _read(lesson: Lesson):
    return nbformat.read(lesson.path, 4)


def in_guide(text: str, known: list[Lesson]) -> str:
    """The teachers' guide with the minutes of every lesson as it stands."""
    for lesson in known:
        found = by_section(_read(lesson)).items()
        each = " · ".join(f"{name} {max(1, round(spent))}" for name, spent in found)
        line = f"**Minutes**, about {total(_read(lesson))} in all: {each}."
        before, heading, after = text.partition(f"\n### Lesson {lesson.number:02d}\n")
        text = before + heading + MINUTES.sub(lambda _, line=line: line, after, count=1)
    return text


def of_needed(text: str, known: list[Lesson]) -> str:
    """A lesson's script with the minutes of the lessons that its table "you need" links to."""
    spent = {f"{x.number:02d}": total(_read(x)) for x in known}

    def row(found: re.Match) -> str:
        linked = re.findall(r"\]\((\d\d)_", found[1])
        return f"{found[1]}{sum(spent.get(number, 0) for number in linked)}{found[2]}"

    return NEEDED.sub(row, text)


def imports_alone(source: str) -> bool:
    """Whether a cell is the set-up, or holds import statements and nothing else."""
    lines = [x for x in source.splitlines() if x and not x.startswith((" ", ")", "#"))]
    imports = bool(lines) and all(x.startswith(("import ", "from ")) for x in lines)
    return imports or source == SETUP_CELL
