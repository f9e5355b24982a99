"""The first page of the book: a card a lesson, with a picture, its question and its minutes."""

import base64
import io
import re
from pathlib import Path

from PIL import Image, ImageOps

from naslora_workbook.publishing.lesson import Lesson
from naslora_workbook.publishing.minutes import total

THUMBNAIL = (480, 300)  # pixels
HEAD = """\
# NAS-LoRA workbook

Fourteen lessons on fine-tuning the Segment Anything Model with small adapters: LoRA, Conv-LoRA and
an operator search between its two matrices. Every page is an executed notebook.

"""
GUIDES = ("teaching", "glossary", "troubleshooting", "results")


def index_page(notebooks: dict[Lesson, object], source: Path) -> str:
    """The index as MyST; thumbnails are written into `source`."""
    cards = [_card(lesson, notebook, source) for lesson, notebook in notebooks.items()]
    grid = "::::{grid} 1 2 3 3\n:gutter: 3\n\n" + "\n".join(cards) + "\n::::\n"
    lessons = [f"{x.number:02d} · {x.title} <{x.name}>" for x in notebooks]
    guides = [name for name in GUIDES if (source / f"{name}.md").exists()]
    return HEAD + grid + _contents("Lessons", lessons) + _contents("Guides", guides)


def _contents(caption: str, names: list[str]) -> str:
    pages = "\n".join(names)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n"


def _card(lesson: Lesson, notebook, source: Path) -> str:
    image = ""
    if picture := _thumbnail(notebook):
        name = f"{lesson.name}_card.png"
        (source / name).write_bytes(picture)
        image = f":img-top: {name}\n:img-alt: A figure of this lesson\n"
    return (
        f":::{{grid-item-card}} {lesson.number:02d} · {lesson.title}\n"
        f":link: {lesson.name}\n:link-type: doc\n{image}\n"
        f"{question(notebook)}\n+++\n{_foot(notebook)}\n:::\n"
    )


def _foot(notebook) -> str:
    """Minutes of the lesson, or the cell in which its run stopped."""
    stopped = notebook.metadata.get("naslora", {}).get("failure")
    return f"Stopped in {stopped}" if stopped else f"about {total(notebook)} minutes"


def question(notebook) -> str:
    """The sentence after "The question:" of a lesson, on one line; its promise otherwise."""
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    found = re.search(r"\*\*The question:?\*\*:?\s*(.+?)(?:\n\n|$)", text, re.DOTALL)
    found = found or re.search(r"^> (.+?)(?:\n\n|$)", text, re.DOTALL | re.MULTILINE)
    words = " ".join(found[1].replace("\n> ", " ").split()) if found else ""
    return words[:1].upper() + words[1:]


def _thumbnail(notebook) -> bytes | None:
    """The last picture of the lesson's first half, small."""
    found = [
        output["data"]["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if not found:
        return None
    picture = Image.open(io.BytesIO(base64.b64decode(found[len(found) // 2]))).convert("RGB")
    file = io.BytesIO()
    ImageOps.pad(picture, THUMBNAIL, color="white").quantize(64).save(file, "PNG")
    return file.getvalue()
