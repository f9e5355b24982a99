"""Read one mask, whatever its format, as numbers, or say in a sentence what is wrong with it."""

from pathlib import Path

import numpy as np
from PIL import Image

from naslora_core.data.reading import open_picture
from naslora_core.errors import UserError

MOST_CLASSES = 64
FEW = 12  # colours or values that a sentence can list


class ColourMask(UserError):
    """A mask in colour; colours: those that it holds, as (R, G, B)."""

    def __init__(self, path: Path, mode: str, colours: list[tuple[int, ...]]):
        self.colours = colours
        super().__init__(
            f"{path} is a mask in colour ({mode}, {len(colours)} colours); expected one channel "
            f"with 0/255 or class numbers 0, 1, 2, ...: {renumber(colours)}."
        )


def renumber(colours: list[tuple[int, ...]]) -> str:
    """The remedy for colours."""
    order = ", ".join(f"{tuple(c)} -> {i}" for i, c in enumerate(colours[:FEW]))
    if len(colours) > FEW:
        return f"give each colour a number ({order}, ...) and save it grey, as PNG"
    return f"give each colour a number, perhaps {order}, and save it grey"


def read_mask(path: Path) -> np.ndarray:
    """A mask file as it is, `H W` of numbers; UserError for colours or what does not open.

    Of a palette, the numbers are read where colour 0 is black, else the greys that it shows.
    """
    mask = open_picture(path)[0]
    kind = mask.mode
    if kind == "P" and not _numbered(mask):
        mask = mask.convert("RGBA")
    if mask.mode in ("LA", "RGBA"):
        _check_alpha(path, np.asarray(mask))
    values = np.asarray(mask.convert("L") if mask.mode in ("1", "LA") else mask)
    if values.ndim == 2:
        return values
    colours = values[..., :3]
    if mask.mode not in ("RGB", "RGBA") or (colours != colours[..., :1]).any():
        seen = np.unique(np.asarray(mask.convert("RGB")).reshape(-1, 3), axis=0)
        raise ColourMask(path, kind, [tuple(c) for c in seen.tolist()])
    return values[..., 0]


def _numbered(mask: Image.Image) -> bool:
    """Whether a palette's numbers are classes: 0 is black, or unused beside colours."""
    palette, used = np.reshape(mask.getpalette("RGB"), (-1, 3)), np.unique(mask)
    if not palette[0].any():
        return True
    shown = palette[used[used < len(palette)]]
    return bool(used[0]) and (shown != shown[:, :1]).any()


def _check_alpha(path: Path, pixels: np.ndarray) -> None:
    """UserError where only the alpha channel tells the object from its surroundings."""
    alpha = pixels[..., -1]
    hidden = (alpha < 255) & pixels[..., :-1].any(-1)
    if hidden.any() and alpha.min() < alpha.max():
        raise UserError(
            f"{path} has pixels that are not black where its alpha channel is {alpha.min()}, so "
            "the mask is in its alpha channel; expected it in grey: flatten it on black and save "
            "it grey."
        )


def check_values(path: Path | str, found: np.ndarray) -> set[int]:
    """The (unique) values of a mask: {0, 255}, or class numbers 0..C; UserError for any others."""
    whole = np.isfinite(found).all() and (found == np.round(found)).all() and found.min() >= 0
    if whole and (found.max() <= MOST_CLASSES or set(found.tolist()) <= {0, 255}):
        return {int(v) for v in found}
    shown = ", ".join(f"{v:g}" for v in found[:6]) + (", ..." if len(found) > 6 else "")
    raise UserError(
        f"{path} holds the {len(found)} value(s) {shown}; expected 0/255, or class numbers "
        f"0..{MOST_CLASSES}: {_remedy(found)}."
    )


def _remedy(found: np.ndarray) -> str:
    if len(found) <= FEW:
        order = ", ".join(f"{v:g} -> {i}" for i, v in enumerate(found))
        return f"renumber its values, perhaps {order}"
    if found.max() <= 255:
        return "if JPEG or resizing blurred a 0/255 mask, threshold it at 128 and save it as PNG"
    return "if these are probabilities or object numbers, threshold them to 0/255"
