"""What a page folds until its reader has guessed, and the sections that an index can lead to."""

import html as entities
import re
from urllib.parse import quote

from bs4 import BeautifulSoup, Tag

ASKED, CELL = "Predict first", "jp-Cell"
WORDS = "Written down? Then see what came out."
HEADING = re.compile(r'<h[23] id="([^"]+)"[^>]*>(.*?)<a class="anchor-link"', re.DOTALL)


def sections(page: str) -> list[tuple[str, str]]:
    """Anchor, fit for a link, and words of every heading below the title of a lesson's HTML."""
    plain = ((anchor, re.sub(r"<[^>]+>", "", inner)) for anchor, inner in HEADING.findall(page))
    return [(quote(entities.unescape(a)), entities.unescape(text).strip()) for a, text in plain]


def fold_results(soup: BeautifulSoup) -> None:
    """Put all cells between a "Predict first" and the next heading or question into a fold."""
    for cell in soup.select(f"main .{CELL}"):
        if not _asks(cell):
            continue
        behind = _behind(cell)
        if any(each.select_one(".jp-OutputArea-child") for each in behind):
            fold = soup.new_tag("details", attrs={"class": "result"})
            summary = soup.new_tag("summary")
            summary.string = WORDS
            cell.insert_after(fold)
            fold.extend([summary, *behind])


def _behind(cell: Tag) -> list[Tag]:
    found = []
    for each in cell.find_next_siblings(class_=CELL):
        if _asks(each) or each.select_one("h1, h2, h3"):
            break
        found.append(each)
    return found


def _asks(cell: Tag) -> bool:
    return any(s.text.startswith(ASKED) for s in cell.select("blockquote strong"))
