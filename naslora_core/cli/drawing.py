"""Pictures of masks, by pillow alone: an image under its mask, and a sheet of several."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
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
    over = image.copy()
    over[border] = OUTLINE
    return over


def sheet(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> Image.Image:
    """Pictures `H W 3` four in a row, each shrunk to SIDE pixels, a caption under each."""
    columns = min(4, len(pictures))
    cell = SIDE + CAPTION + 4
    whole = Image.new("RGB", (columns * (SIDE + 4), -(-len(pictures) // columns) * cell), "white")
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        small, place = Image.fromarray(picture), (i % columns * (SIDE + 4), i // columns * cell)
        small.thumbnail((SIDE, SIDE))
        whole.paste(small, place)
        text = caption.encode("latin-1", "replace").decode("latin-1")  # what pillow's font has
        ImageDraw.Draw(whole).text((place[0] + 2, place[1] + SIDE + 1), text, fill="black")
    return whole


def png(picture: Image.Image | np.ndarray, software: str) -> bytes:
    """A PNG that says which program wrote it."""
    buffer, said = io.BytesIO(), PngInfo()
    said.add_text("Software", software)
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(buffer, "PNG", pnginfo=said)
    return buffer.getvalue()
