"""The pages of the book: markdown as the book writes it, and the index with a card a lesson."""

import base64
import io
import re
from pathlib import Path

from PIL import Image, ImageOps

from naslora_workbook.publishing.lesson import SLUG, Lesson, total

WEB = f"https://github.com/{SLUG}/blob/main"
ADMONITIONS = {"Predict first": "hint", "Careful": "warning"}  # all others are notes
NOT_PROSE = re.compile(  # code, formulas, links, headings, tables, directives
    r"(```.*?```|`[^`]*`|\$[^$]*\$|\[[^\]]*\]\([^)]*\)|^(?:#+ |\||:{3})[^\n]*$)",
    re.DOTALL | re.MULTILINE,
)
THUMBNAIL = (480, 300)  # pixels
HEAD = """\
# NAS-LoRA workbook

Fourteen lessons on fine-tuning the Segment Anything Model with small adapters: LoRA, Conv-LoRA and
an operator search between its two matrices. Every page is an executed notebook.

"""
GUIDES = {  # page of the book: file of the repository
    "teaching.md": "notebooks/TEACHING.md",
    "glossary.md": "notebooks/GLOSSARY.md",
    "troubleshooting.md": "notebooks/TROUBLESHOOTING.md",
    "results.md": "naslora_workbook/results/README.md",
}


def prose(text: str, built: set[str], terms: dict[str, str]) -> str:
    """A lesson's markdown cell; `terms` loses those that it links."""
    text = re.sub(r"^\[!\[Open in .*\n?", "", text, flags=re.MULTILINE)  # the theme has buttons
    text = _callouts(_folds(text))
    opens = text.startswith("# ")
    return local_links(text if opens else _link_terms(text, terms), built)


def _folds(text: str) -> str:
    """`<details>` as the theme's dropdowns."""
    opening = r"<details[^>]*>\s*<summary>(.*?)</summary>"
    text = re.sub(opening, r":::::{dropdown} \1", text, flags=re.DOTALL)
    return text.replace("</details>", ":::::")


def _callouts(text: str) -> str:
    """Block quotes that open with a bold name as the theme's admonitions."""

    def framed(found: re.Match) -> str:
        body = re.sub(r"^> ?", "", found[0], flags=re.MULTILINE)
        name, rest = re.match(r"\*\*(.+?)[.:]?\*\*[.:]?\s*(.*)", body, re.DOTALL).groups()
        kind = ADMONITIONS.get(name, "note")
        return f"::::{{admonition}} {name}\n:class: {kind}\n\n{rest}\n::::"

    return re.sub(r"^> \*\*[^\n]*(?:\n>[^\n]*)*", framed, text, flags=re.MULTILINE)


def local_links(text: str, built: set[str]) -> str:
    """Lessons and guides that are built link inside the book, all other files to the web."""
    inside = {Path(file).name: page for page, file in GUIDES.items() if "results" not in file}
    inside |= {f"{name}.ipynb": f"{name}.ipynb" for name in built} | {"README.md": "index.md"}

    def target(found: re.Match) -> str:
        path, anchor = found[1], re.sub(r"[^\w#-]", "", found[2] or "").lower()
        name = Path(path).name
        if path.endswith("results/README.md"):
            return f"](results.md{anchor})"
        if name in inside and path.count("/") == path.count("../"):
            return f"]({inside[name]}{anchor})"
        folder = "" if path.startswith("../") else "notebooks/"
        return f"]({WEB}/{folder}{path.removeprefix('../')}{found[2] or ''})"

    text = re.sub(r"\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)", target, text)
    return re.sub(r"!\[([^\]]*)\]\(https?:[^)]*\)", r"\1", text)  # no picture from the web


def glossary_terms(text: str) -> dict[str, str]:
    """Every term of the glossary, by how a sentence writes it."""
    found = re.findall(r"^\*\*(.+?)\*\* ·", text, flags=re.MULTILINE)
    return {term.partition(" (")[0]: term for term in found}


def glossary_page(text: str) -> str:
    """The glossary as Sphinx's own, so that lessons can link to a term."""
    head, _, rest = text.partition("\n**")
    entries = re.sub(r"^\*\*(.+?)\*\* · ?(.*)$", r"\1\n  \2", "**" + rest, flags=re.MULTILINE)
    return f"{head}\n\n::::{{glossary}}\n{entries.strip()}\n::::\n"


def _link_terms(text: str, terms: dict[str, str]) -> str:
    """Link the first use of each term that stands in a sentence."""
    parts = NOT_PROSE.split(text)  # sentences are at the even places
    for word in sorted(terms, key=len, reverse=True):
        for i in range(0, len(parts), 2):
            found = re.search(rf"(?<![`-])\b{re.escape(word)}\b(?!-)", parts[i])
            if found:
                before, after = parts[i][: found.start()], parts[i][found.end() :]
                link = f"{{term}}`{word} <{terms.pop(word)}>`"
                parts[i : i + 1] = [before, link, after]
                break
    return "".join(parts)


def index_page(notebooks: dict[Lesson, object], source: Path) -> str:
    """The index as MyST; thumbnails are written into `source`."""
    cards = [_card(lesson, notebook, source) for lesson, notebook in notebooks.items()]
    grid = "::::{grid} 1 2 3 3\n:gutter: 3\n\n" + "\n".join(cards) + "\n::::\n"
    lessons = [f"{x.number:02d} · {x.title} <{x.name}>" for x in notebooks]
    guides = [Path(page).stem for page in GUIDES if (source / page).exists()]
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
