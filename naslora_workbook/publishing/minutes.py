"""How long a class may take over the sections of a lesson: an estimate from its text."""

import re

from naslora_workbook.publishing.lesson import Lesson

WORDS = 150  # read a minute, outside folds
END = ("Recap", "In practice", "Further reading", "The end of the workbook")
CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)


def sections(lesson: Lesson) -> dict[str, int]:
    """Minutes by heading: a minute for WORDS words, one a code cell, two a "Predict first"; of an
    exercise the minutes that it names instead of its first two cells."""
    found, now = {"opening": 0.0}, "opening"
    pieces = CELL.split(lesson.text.read_text())[1:]
    for kind, source in zip(pieces[::2], pieces[1::2], strict=True):
        if "[markdown]" in kind:
            for heading, prose in _parts(source):
                now = heading or now
                found[now] = found.get(now, 0.0) + _reading(prose)
        else:
            found[now] += 1 if source.strip() else 0
    return {name: max(1, round(minutes)) for name, minutes in found.items()}


def minutes_line(lesson: Lesson) -> str:
    """All sections with their minutes, the last ones together."""
    each = sections(lesson)
    end = sum(each.pop(name) for name in END if name in each)
    listed = " · ".join(f"{name} {minutes}" for name, minutes in (each | {"end": end}).items())
    return f"**Minutes**, about {5 * round((sum(each.values()) + end) / 5)} in all: {listed}."


def _parts(source: str) -> list[tuple[str, str]]:
    """Headings of a markdown cell with what stands below; "" for what stands above the first."""
    prose = re.sub(r"^# ?", "", source, flags=re.MULTILINE)
    prose = re.sub(r"<details>.*?</details>", "", prose, flags=re.DOTALL)
    pieces = re.split(r"^##+ (.+)$", prose, flags=re.MULTILINE)
    return [("", pieces[0]), *zip(pieces[1::2], pieces[2::2], strict=True)]


def _reading(prose: str) -> float:
    """Minutes to read and answer this."""
    stated = re.search(r"^(\d+) minutes ·", prose, flags=re.MULTILINE)
    exercise = max(0, int(stated[1]) - 2) if stated else 0
    return len(prose.split()) / WORDS + 2 * prose.count("**Predict first.**") + exercise
