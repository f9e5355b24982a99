"""List a folder of yours: `images/`, `masks/` of the same names, and perhaps `split.json`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from naslora_core.data.image_io import ENDINGS
from naslora_core.data.listing import (
    Listing,
    Tell,
    alike,
    attempt,
    check_text,
    composed,
    fault,
    first,
    is_text,
    likely,
    some,
    spelling,
    stop,
)  # fmt: skip
from naslora_core.data.mask_io import read_mask
from naslora_core.data.splits import SHARES, splits_of

Files = Mapping[str, Path]


def list_folder(
    path: str | Path, split_seed: int = 0, groups: str | None = None, tell: Tell = stop
) -> Listing:
    """The names of a folder with their files and splits; no picture is opened yet."""
    root = Path(path)
    if not root.is_dir():
        raise fault(root, "is no folder", "one with images/ and masks/ in it", "correct the name")
    images = _files(_part(root, "images"), tell)
    masks = _partners(images, _files(_part(root, "masks"), tell))
    split = root / "split.json"
    splits = attempt(tell, splits_of, root / "images", split, images, split_seed, groups) or {}
    attempt(tell, _check_partners, root, images, masks)
    return Listing(
        name=root.resolve().name,
        images={name: file for name, file in images.items() if name in masks},
        masks=masks,
        read=lambda n: read_mask(masks[n]),
        splits={s: [n for n in splits.get(s, []) if n in masks] for s in SHARES},
        where=root / "masks",
        notes=tuple(_unused(root, images, masks)),
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


def _files(where: Path, tell: Tell) -> dict[str, Path]:
    """The picture files of a folder by their names without ending."""
    files = [file for file in sorted(where.iterdir()) if _kind(file) in ENDINGS]
    if not files:
        kinds = Counter(_kind(file) for file in where.iterdir() if _kind(file))
        inside = sorted(file.name for file in where.iterdir() if file.is_dir())
        there = [f"{n} {kind}" for kind, n in kinds.items() if kind != "folder(s)"]
        there += [some(inside, "folder")] if inside else []
        given = "holds no picture" + (f", but {', '.join(there)}" if there else "")
        remedy = (
            "move their files up (names must differ), or list them in a csv with columns image, "
            "label and split" if inside else "add some"
        )  # fmt: skip
        raise fault(where, given, f"files ending in {', '.join(ENDINGS)} in it", remedy)
    readable = [file for file in files if is_text(file.name)]
    attempt(tell if readable else stop, check_text, where, [file.name for file in files])
    found: dict[str, Path] = {}
    for file in readable:
        if other := found.get(composed(file.stem)):
            tell(fault(file, f"and {other.name} share one name", "one file a name", "rename one"))
        found[composed(file.stem)] = file
    return found


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


def _check_partners(root: Path, images: Files, masks: Files) -> None:
    if lonely := sorted(images.keys() - masks.keys()):
        free = [file.name for name, file in masks.items() if name not in images]
        given = f"has {some(lonely)} without a mask in {root / 'masks'}{likely(lonely[0], free)}"
        remedy = "rename or add the mask, or take the image away"
        raise fault(root / "images", given, "a mask of the same name", remedy)


def _unused(root: Path, images: Files, masks: Files) -> Iterator[str]:
    """Sentences on the files of a folder that are not read."""
    for where in (_part(root, "images"), _part(root, "masks")):
        kinds = Counter(kind for file in where.iterdir() if (kind := _kind(file)))
        if others := [f"{n} {kind}" for kind, n in kinds.most_common() if kind not in ENDINGS]:
            yield (
                f"{where} also holds {first(others)}; only files ending in "
                f"{', '.join(ENDINGS)} are read."
            )
    if unseen := sorted(masks.keys() - images.keys()):
        yield f"{some(unseen, 'mask')} without an image of the same name; they are not used."
