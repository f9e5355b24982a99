"""The names of images: text that every system reads, as short as they can be told apart."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from naslora_core.errors import UserError


def some(names: Sequence[str], what: str = "image") -> str:
    """How many, and the first three."""
    return f"{len(names)} {what}(s) ({first(names)})"


def first(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(shown, names[:3])) + more


def is_text(name: str) -> bool:
    """Whether a name was read as UTF-8; what was not holds surrogates, which print nowhere."""
    return not any(0xD800 <= ord(character) < 0xE000 for character in name)


def shown(name: str) -> str:
    """A name as it is, or with escapes where it is no text."""
    return name if is_text(name) else ascii(name)


def check_text(where: Path | str, names: Iterable[str]) -> None:
    """UserError for names that are not UTF-8."""
    if odd := [name for name in names if not is_text(name)]:
        raise UserError(
            f"{shown(str(where))} has {some(odd, 'name')} that are not UTF-8; expected names that "
            "every system reads alike; rename the files."
        )


def composed(name: str) -> str:
    """A name with its accents in one form: macOS takes letters apart, other systems do not."""
    return unicodedata.normalize("NFC", name)


def short_names(where: Path, paths: list[str]) -> list[str]:
    """A name a path: without folder and ending if that tells them apart, else with more of it.

    Raises UserError for a path that is there twice, and for one that is not UTF-8.
    """
    check_text(where, paths)
    files = [PurePosixPath(path.replace("\\", "/")) for path in paths]
    if twice := sorted(str(file) for file, count in Counter(files).items() if count > 1):
        raise UserError(f"{where} lists {some(twice)} twice; list each image once.")
    longer = [str(f.with_suffix("")) if f.name else str(f) for f in files]  # "." has no name
    for names in ([f.stem for f in files], longer):
        names = list(map(composed, names))
        if len(set(names)) == len(names):
            return names
    return paths
