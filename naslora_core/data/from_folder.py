"""A folder of yours: `images/`, `masks/` of the same names, and perhaps `split.json`.

Everything is looked at before anything is returned, and nothing is ever written there.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from naslora_core.data.image_io import read_mask
from naslora_core.data.index import Dataset, Listing, Tell, attempt, keep, stop, to_dataset
from naslora_core.data.names import check_text, composed, first, is_text, some
from naslora_core.data.splits import splits_of
from naslora_core.errors import UserError

Files = Mapping[str, Path]
ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def folder(path: str | Path, split_seed: int = 0, groups: str | None = None) -> Dataset:
    """The images of a folder with their masks, split by `split.json` or by a hash of their names.

    Masks hold 0/255 or 0/1 (binary), or class numbers 0..C; masks without an image are left out.
    groups: a regular expression with one group, e.g. r"^(patient\\d+)_": images of names where it
    finds the same fall in one split.
    Raises UserError, naming the file and the remedy, for a missing folder, image or mask, another
    size, an unreadable file, a mask in colour or with unexpected values, a split that does not fit.
    """
    return to_dataset(list_folder(path, split_seed, groups))


def list_folder(
    path: str | Path, split_seed: int = 0, groups: str | None = None, tell: Tell = stop
) -> Listing:
    """The names of a folder with their files and splits; no picture is opened yet."""
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"There is no folder {root}; expected one with images/ and masks/ in it.")
    images, masks = _files(root / "images", tell), _files(root / "masks", tell)
    split = root / "split.json"
    splits = attempt(tell, splits_of, root / "images", split, images, split_seed, groups)
    attempt(tell, _check_partners, root, images, masks)
    return Listing(
        name=root.resolve().name,
        images={name: file for name, file in images.items() if name in masks},
        masks=masks,
        read=lambda n: read_mask(masks[n]),
        splits=keep(splits, masks),
        where=root / "masks",
        unused=tuple(_unused(root, images, masks)),
    )


def _files(where: Path, tell: Tell) -> dict[str, Path]:
    """The picture files of a folder by their names without ending."""
    if not where.is_dir():
        raise UserError(
            f"There is no folder {where}; expected {where.parent}/images and "
            f"{where.parent}/masks with files of the same names; make it, or name another folder."
        )
    files = [file for file in sorted(where.iterdir()) if _kind(file) in ENDINGS]
    if not files:
        raise UserError(f"{where} holds no picture; expected files ending in {', '.join(ENDINGS)}.")
    readable = [file for file in files if is_text(file.name)]
    attempt(tell if readable else stop, check_text, where, [file.name for file in files])
    found: dict[str, Path] = {}
    for file in readable:
        name = composed(file.stem)
        attempt(tell, _check_alone, file, found.get(name))
        found[name] = file
    return found


def _kind(file: Path) -> str | None:
    """A file's ending, or what it is else; None for what is hidden."""
    if file.name.startswith("."):
        return None
    return file.suffix.lower() or ("folder(s)" if file.is_dir() else "without ending")


def _check_alone(file: Path, other: Path | None) -> None:
    if other:
        raise UserError(
            f"{file} and {other.name} share one name; expected one file a name; remove or rename "
            "one of them."
        )


def _check_partners(root: Path, images: Files, masks: Files) -> None:
    if lonely := sorted(images.keys() - masks.keys()):
        raise UserError(
            f"{some(lonely)} in {root / 'images'} without a mask of the same name (the ending "
            f"aside) in {root / 'masks'}; add the mask or take the image away."
        )


def _unused(root: Path, images: Files, masks: Files) -> Iterator[str]:
    """Sentences on the files of a folder that are not read."""
    for where in (root / "images", root / "masks"):
        kinds = Counter(kind for file in where.iterdir() if (kind := _kind(file)))
        if others := [f"{n} {kind}" for kind, n in kinds.most_common() if kind not in ENDINGS]:
            yield (
                f"{where} also holds {first(others)}; only files ending in "
                f"{', '.join(ENDINGS)} are read."
            )
    if unseen := sorted(masks.keys() - images.keys()):
        yield f"{some(unseen, 'mask')} without an image of the same name; they are not used."
