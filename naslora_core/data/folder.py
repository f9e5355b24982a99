"""A folder of yours: `images/`, `masks/` of the same names, and perhaps `split.json`.

Everything is looked at before anything is returned, and nothing is ever written there.
"""

from pathlib import Path

from naslora_core.data.dataset import Dataset
from naslora_core.data.groups import splits_of
from naslora_core.data.listing import Listing, Tell, attempt, keep, stop, to_dataset
from naslora_core.data.masks import read_mask
from naslora_core.data.splits import some
from naslora_core.errors import UserError

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
    lonely = sorted(images.keys() - masks.keys())
    if lonely:
        tell(
            UserError(
                f"{some(lonely)} in {root / 'images'} without a mask of the same name (the ending "
                f"aside) in {root / 'masks'}; add the mask or take the image away."
            )
        )
    images = {name: file for name, file in images.items() if name in masks}
    name, splits = root.resolve().name, keep(splits, images)
    return Listing(name, images, masks, lambda n: read_mask(masks[n]), splits, root / "masks")


def _files(where: Path, tell: Tell) -> dict[str, Path]:
    """The picture files of a folder by their names without ending."""
    if not where.is_dir():
        raise UserError(
            f"There is no folder {where}; expected {where.parent}/images and "
            f"{where.parent}/masks with files of the same names; make it, or name another folder."
        )
    found: dict[str, Path] = {}
    for file in sorted(where.iterdir()):
        if file.suffix.lower() not in ENDINGS or file.name.startswith("."):
            continue
        if file.stem in found:
            tell(
                UserError(
                    f"{file} and {found[file.stem].name} share one name; expected one file a "
                    "name; remove or rename one of them."
                )
            )
        found[file.stem] = file
    if not found:
        raise UserError(f"{where} holds no picture; expected files ending in {', '.join(ENDINGS)}.")
    return found
