"""Links in the repository's pages lead to files, and to headings that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = (".", "data_manifests", "naslora_*/*", "notebooks", "notebooks/text")
PAGES = sorted(page for place in PLACES for page in ROOT.glob(f"{place}/*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    """To files, and to headings of this page or of another."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            file, _, heading = target.partition("#")
            there = page.parent / file if file else page
            assert there.exists(), target
            assert not heading or heading in anchors(there), target


def anchors(page: Path) -> set[str]:
    """Its headings, spelled as GitHub spells them in links."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in found}
