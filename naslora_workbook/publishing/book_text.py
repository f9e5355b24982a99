"""Markdown of lessons and guides as the book writes it: admonitions, dropdowns, links, glossary."""

import re
from pathlib import Path

from naslora_workbook.publishing.lesson import SLUG

WEB = f"https://github.com/{SLUG}/blob/main"
ADMONITIONS = {"Predict first": "hint", "Careful": "warning"}  # all others are notes
NOT_PROSE = re.compile(  # code, formulas, links, headings, tables, directives
    r"(```.*?```|`[^`]*`|\$[^$]*\$|\[[^\]]*\]\([^)]*\)|^(?:#+ |\||:{3})[^\n]*$)",
    re.DOTALL | re.MULTILINE,
)


def prose(text: str, built: set[str], terms: dict[str, str], guides: dict[str, str]) -> str:
    """A lesson's markdown cell; `terms` loses those that it links."""
    text = re.sub(r"^\[!\[Open in .*\n?", "", text, flags=re.MULTILINE)  # the theme has buttons
    text = _callouts(_folds(text))
    opens = text.startswith("# ")
    return local_links(text if opens else _link_terms(text, terms), built, guides)


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


def local_links(text: str, built: set[str], guides: dict[str, str]) -> str:
    """Lessons and guides that are built link inside the book, all other files to the web."""
    inside = {Path(file).name: page for page, file in guides.items() if "results" not in file}
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
