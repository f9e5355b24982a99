"""List a folder of yours: `images/`, `masks/` of the same names, and perhaps `split.json`."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from naslora_core.data.image_io import ENDINGS
from naslora_core.data.listing import (
    Listing,
    alike,
    attempt,
    check_shared,
    composed,
    likely,
    spelling,
)
from naslora_core.data.mask_io import read_mask
from naslora_core.data.splits import among, file_splits
from naslora_core.errors import UserError, fault, first, some

Files = Mapping[str, Path]


def list_folder(path: str | Path, split_seed: int = 0, groups: str | None = None) -> Listing:
    """The names of a folder with their files and splits; no picture is opened yet."""
    root, faults = Path(path), []
    if not root.is_dir():
        raise fault(root, "is no folder", "one with images/ and masks/ in it", "correct the name")
    folders = _part(root, "images"), _part(root, "masks")
    images, masks = (_files(where, faults) for where in folders)
    masks = _partners(images, masks)
    where, file = root / "images", root / "split.json"
    splits = attempt(faults, file_splits, where, file, images, split_seed, groups)
    if lonely := sorted(images.keys() - masks.keys()):
        free = [file.name for name, file in masks.items() if name not in images]
        given = f"has {some(lonely)} without a mask in {root / 'masks'}{likely(lonely[0], free)}"
        remedy = "rename or add the mask, or take the image away"
        faults.append(fault(where, given, "a mask of the same name", remedy))
    own = {name: mask for name, mask in masks.items() if name in images}
    attempt(faults, check_shared, folders[1], own, "put the mask of each image there")
    notes = [note for folder in folders for note in _not_read(folder)]
    if unseen := sorted(masks.keys() - images.keys()):
        same = "without an image of the same name"
        notes.append(f"{some(unseen, 'mask')} {same}; they are not used.")
    return Listing(
        name=root.resolve().name,
        images={name: file for name, file in images.items() if name in masks},
        masks=masks,
        read=lambda name: read_mask(masks[name]),
        splits=among(splits, masks),
        where=root / "masks",
        faults=faults,
        notes=tuple(notes),
    )


def _part(root: Path, name: str) -> Path:
    """The folder `images` or `masks`, in whatever letter case; UserError names what is there."""
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    same = [p for p in folders if p.name.casefold() == name]
    if len(same) == 1 or (root / name).is_dir():
        return root / name if (root / name).is_dir() else same[0]
    deeper = [p.name for p in folders if (p / name).is_dir()]
    there = f"; it holds {some([p.name for p in folders], 'folder')}" if folders else ""
    remedy = f"name {root / deeper[0]}, which has both" if deeper else f"rename one to {name}"
    given = f"has no folder {name}{there}"
    raise fault(root, given, "images/ and masks/ with files of the same names", remedy)


def _files(where: Path, faults: list[UserError]) -> dict[str, Path]:
    """The picture files of a folder by their names without ending."""
    files = [file for file in sorted(where.iterdir()) if _kind(file) in ENDINGS]
    if not files:
        raise _no_picture(where)
    found: dict[str, Path] = {}
    for file in files:
        if other := found.get(composed(file.stem)):
            given = f"and {other.name} share one name"
            faults.append(fault(file, given, "one file a name", "rename one"))
        found[composed(file.stem)] = file
    return found


def _no_picture(where: Path) -> UserError:
    there = _kinds(where, but=("folder(s)",))
    inside = sorted(file.name for file in where.iterdir() if file.is_dir())
    there += [some(inside, "folder")] if inside else []
    given = "holds no picture" + (f", but {', '.join(there)}" if there else "")
    table = "list them in a csv with columns image, label and split"
    remedy = f"move their files up (names must differ), or {table}" if inside else "add some"
    return fault(where, given, f"files ending in {', '.join(ENDINGS)} in it", remedy)


def _not_read(where: Path) -> list[str]:
    """A sentence on the files of a folder that are no pictures."""
    others, endings = _kinds(where, but=ENDINGS), ", ".join(ENDINGS)
    sentence = f"{where} also holds {first(others)}; only files ending in {endings} are read."
    return [sentence] if others else []


def _kinds(where: Path, but: tuple[str, ...]) -> list[str]:
    """How many entries of each kind a folder has, most first, without some kinds."""
    counts = Counter(kind for file in where.iterdir() if (kind := _kind(file)))
    return [f"{count} {kind}" for kind, count in counts.most_common() if kind not in but]


def _kind(file: Path) -> str | None:
    """A file's ending, or what it is else; None for what is hidden."""
    if file.name.startswith("."):
        return None
    return "folder(s)" if file.is_dir() else file.suffix.lower() or "without ending"


def _partners(images: Files, masks: Files) -> dict[str, Path]:
    """The masks by their images' names, where one alone is spelt like an image."""
    spelt = alike(name for name in masks if name not in images)
    lonely = {name: spelt.get(spelling(name)) for name in images if name not in masks}
    again = {mask: name for name, mask in lonely.items() if mask}
    return {again.get(name, name): file for name, file in masks.items()}
