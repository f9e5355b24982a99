"""What a folder, a csv or a COCO file lists, and how its names are written and found."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np

from naslora_core.data.image_io import ENDINGS
from naslora_core.errors import UserError, fault, some

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}  # of the images, where no one says which
MOST_FILES = 100_000  # that are looked through for one that is spelt otherwise


@dataclass
class Listing:
    """images: the file of each name; masks: how a message names its mask; read: its values `H W`;
    splits: names, those without an image left out; where: all masks, as a message names them;
    faults: found so far; remedy: for a mask of another size; classes: their names, or none where
    masks say it; sizes: `H W` of masks by name, where it is known before they are read; notes:
    sentences for every reader; covered: objects that later ones hide, filled while masks are read.
    """

    name: str
    images: Mapping[str, Path]
    masks: Mapping[str, Path | str]
    read: Callable[[str], np.ndarray]
    splits: Mapping[str, list[str]] | None
    where: Path | str
    faults: list[UserError]
    remedy: str = "save the mask at the image's size (nearest neighbour)"
    classes: tuple[str, ...] = ()
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    covered: list[str] = field(default_factory=list)

    def __post_init__(self):
        splits = self.splits or {}
        self.splits = {s: [n for n in splits.get(s, ()) if n in self.images] for s in SHARES}


def attempt(faults: list[UserError], function: Callable, *arguments):
    """What the function returns; None where it raised a fault, which joins the others."""
    try:
        return function(*arguments)
    except UserError as error:
        faults.append(error)


def composed(name: str) -> str:
    """A name with its accents in one form: macOS takes letters apart, other systems do not."""
    return unicodedata.normalize("NFC", name)


def spelling(path: str) -> str:
    """A path as all its spellings are alike: %20, letter case, accents, either slash."""
    return composed(unquote(path)).strip().casefold().replace("\\", "/").removeprefix("./")


def alike(names: Iterable[str]) -> dict[str, str]:
    """spelling -> name, of the names that no other is spelt like."""
    found = defaultdict(list)
    for name in names:
        found[spelling(name)].append(name)
    return {key: same[0] for key, same in found.items() if len(same) == 1}


def partners(images: Mapping[str, Path], masks: Mapping[str, Path]) -> dict[str, Path]:
    """The masks by their images' names, where one alone is spelt like an image."""
    spelt = alike(name for name in masks if name not in images)
    lonely = {spelt.get(spelling(name)): name for name in images if name not in masks}
    return {lonely.get(name, name): file for name, file in masks.items()}


def names_of(where: Path, paths: list[str]) -> list[str]:
    """A name a path, as short as tells them apart; UserError for a path that is there twice."""
    files = [PurePosixPath(path.replace("\\", "/")) for path in paths]
    if twice := sorted(str(file) for file, count in Counter(files).items() if count > 1):
        raise fault(where, f"lists {some(twice)} twice", "each image once", "remove the others")
    longer = [str(f.with_suffix("")) if f.name else str(f) for f in files]  # "." has no name
    for names in ([f.stem for f in files], longer):
        names = list(map(composed, names))
        if len(set(names)) == len(names):
            return names
    return paths


def likely(name: str, files: Iterable[str]) -> str:
    """Words that name the file most like a name, or with one of the two in the other; or ""."""
    known, name_ = {spelling(file).rsplit("/")[-1]: file for file in files}, spelling(name)
    stems = {key: PurePosixPath(key).stem for key in known}
    within = [key for key, stem in stems.items() if len(stem) > 2 and stem in name_]
    near = [key for key in known if name_ in key] or sorted(within, key=len)[-1:]
    near = near or get_close_matches(name_, known, 1, 0.5)
    return f" ({known[near[0]]} is the likely file of {name})" if near else ""


class Finder:
    """Finds a picture below `root` by a path that may be spelt otherwise or have more folders."""

    def __init__(self, root: Path):
        self.root = root

    def __call__(self, path: str) -> Path | None:
        """The file; None where there is none, or two are spelt alike."""
        path = path.replace("\\", "/")
        if (self.root / path).is_file():
            return self.root / path
        parts = spelling(path).split("/")
        tails = ("/".join(parts[i:]) for i in range(len(parts)))
        return next((self.root / self._spelt[tail] for tail in tails if tail in self._spelt), None)

    def all(self, where: str, paths: Mapping[str, str], faults: list) -> dict[str, Path]:
        """The file of every path, by its name; those that are missing are one fault."""
        found = {name: self(path) for name, path in paths.items()}
        if lost := sorted(paths[name] for name, file in found.items() if file is None):
            near = likely(PurePosixPath(lost[0]).stem, self._files)
            given = f"names {some(lost, 'file')} that {self.root} does not hold"
            remedy = f"put them there, correct the names, or remove their entries{near}"
            faults.append(fault(where, given, "paths from there", remedy))
        return {name: file or self.root / paths[name] for name, file in found.items()}

    @cached_property
    def _files(self) -> list[str]:
        pictures = (p for p in self.root.rglob("*") if p.suffix.lower() in ENDINGS)
        return [str(p.relative_to(self.root)) for p in islice(pictures, MOST_FILES)]

    @cached_property
    def _spelt(self) -> dict[str, str]:
        return alike(self._files)
