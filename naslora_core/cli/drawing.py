"""Pictures of masks, by pillow alone: an image under its mask, and a sheet of several."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from PIL.PngImagePlugin import PngInfo

COLOURS = ((30, 144, 255), (204, 121, 167), (0, 158, 115), (230, 159, 0))  # of class 1, 2, ...
OUTLINE = (240, 228, 66)
SIDE, CAPTION = 256, 14  # pixels of a picture on a sheet, and of the line under it


def overlaid(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with its mask in colour, half and half, uint8 `H W 3`."""
    over = image // 2
    over[mask == 0] = image[mask == 0]
    for label in range(1, int(mask.max()) + 1):
        over[mask == label] += np.array(COLOURS[(label - 1) % len(COLOURS)], np.uint8) // 2
    return over


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with the border of every class of a mask in yellow, one pixel wide."""
    inside = np.pad(mask, 1, mode="edge")
    sides = inside[:-2, 1:-1], inside[2:, 1:-1], inside[1:-1, :-2], inside[1:-1, 2:]
    border = (mask > 0) & np.any([side != mask for side in sides], axis=0)
    return np.where(border[..., None], np.uint8(OUTLINE), image)


def sheet(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> Image.Image:
    """Pictures `H W 3` four in a row, each fitted into SIDE pixels, a caption under each."""
    rows = -(-len(pictures) // 4)
    whole = Image.new("RGB", (4 * SIDE, rows * (SIDE + CAPTION)), "white")
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = i % 4 * SIDE, i // 4 * (SIDE + CAPTION)
        whole.paste(ImageOps.contain(Image.fromarray(picture), (SIDE, SIDE)), (left, top))
        text = caption.encode("latin-1", "replace").decode("latin-1")  # what pillow's font has
        ImageDraw.Draw(whole).text((left + 2, top + SIDE + 1), text, fill="black")
    return whole


def png(picture: Image.Image | np.ndarray, software: str) -> bytes:
    """A PNG that says which program wrote it."""
    buffer, said = io.BytesIO(), PngInfo()
    said.add_text("Software", software)
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(buffer, "PNG", pnginfo=said)
    return buffer.getvalue()
