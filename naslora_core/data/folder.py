"""A folder of yours: `images/`, `masks/` of the same names, and perhaps `split.json`.

Everything is looked at before anything is returned, and nothing is ever written there.
"""

from pathlib import Path

import numpy as np

from naslora_core.data.dataset import Dataset, Sample, Split
from naslora_core.data.reading import check_values, read_image, read_mask
from naslora_core.data.splits import SHARES, hashed_splits, read_splits, some
from naslora_core.errors import UserError

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def folder(path: str | Path, split_seed: int = 0) -> Dataset:
    """The images of a folder with their masks, split by `split.json` or by a hash of their names.

    Masks hold 0/255 or 0/1 (binary), or class numbers 0..C; masks without an image are left out.
    Raises UserError, naming the file and the remedy, for a missing folder, image or mask, another
    size, an unreadable file, a mask in colour or with unexpected values, a split that does not fit.
    """
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"There is no folder {root}; expected one with images/ and masks/ in it.")
    images, masks = _files(root / "images"), _files(root / "masks")
    lonely = sorted(images.keys() - masks.keys())
    if lonely:
        raise UserError(
            f"{some(lonely)} in {root / 'images'} without a mask of the same name (the ending "
            f"aside) in {root / 'masks'}; add the mask or take the image away."
        )
    file = root / "split.json"
    splits = read_splits(file, images) if file.exists() else _hashed(root, images, split_seed)
    top = _classes(root, {masks[i]: _check(images[i], masks[i]) for i in sorted(images)})

    def read(name: str) -> Sample:
        values = read_mask(masks[name])
        mask = (values > 0) if top == 1 else values
        return Sample(read_image(images[name]), mask.astype(np.uint8), name)

    classes = tuple(f"class {c}" for c in range(1, top + 1)) if top > 1 else ("object",)
    return Dataset(root.resolve().name, classes, *(Split(read, splits[s]) for s in SHARES))


def _files(where: Path) -> dict[str, Path]:
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
            raise UserError(
                f"{file} and {found[file.stem].name} share one name; expected one file a name; "
                "remove or rename one of them."
            )
        found[file.stem] = file
    if not found:
        raise UserError(f"{where} holds no picture; expected files ending in {', '.join(ENDINGS)}.")
    return found


def _hashed(root: Path, names, seed: int) -> dict[str, list[str]]:
    try:
        return hashed_splits(names, seed)
    except UserError as error:
        raise UserError(f"{root / 'images'}: {error}") from error


def _check(image: Path, mask: Path) -> set[int]:
    """The values of one pair's mask, after everything that can be wrong with it was looked at."""
    size, values = read_image(image).shape[:2], read_mask(mask)
    if values.shape != size:
        turned = " (turned upright by its EXIF orientation)" if values.shape == size[::-1] else ""
        raise UserError(
            f"{mask} is {values.shape[1]}x{values.shape[0]} pixels, its image {image.name} "
            f"{size[1]}x{size[0]}{turned}; expected the same; save the mask at the image's size "
            "(nearest neighbour)."
        )
    return check_values(mask, values)


def _classes(root: Path, values: dict[Path, set[int]]) -> int:
    """The highest class number of all masks; 1 where every mask is binary."""
    every = set().union(*values.values())
    if every == {0}:
        raise UserError(
            f"Every mask in {root / 'masks'} is empty (only the value 0); expected foreground as "
            "255 or as class numbers from 1; export the masks again."
        )
    if every <= {0, 1, 255}:
        return 1
    odd = next((file for file, found in values.items() if 255 in found), None)
    if odd:
        top = max(every - {255})
        raise UserError(
            f"{odd} holds 255, other masks class numbers up to {top}; expected 0..{top} in all of "
            "them; give its foreground the number of its class."
        )
    return max(every)
