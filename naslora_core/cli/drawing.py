"""Pictures by pillow alone: an image under its mask, a sheet of several, how a training went."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from PIL.PngImagePlugin import PngInfo

COLOURS = ((30, 144, 255), (204, 121, 167), (0, 158, 115), (230, 159, 0))  # of class 1, 2, ...
OUTLINE = (240, 228, 66)
SIDE, CAPTION = 256, 14  # pixels of a picture on a sheet, and of the line under it
WIDE, HIGH, EDGE = 480, 240, 32  # pixels of one plot, and of the rim around its frame
FEW = 60  # points that are marked one by one


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


def learning(history: Sequence[Mapping], names: Mapping[str, str]) -> Image.Image:
    """A plot over the steps for each key of `names`, from 0 to its largest value, side by side."""
    whole = Image.new("RGB", (len(names) * WIDE, HIGH), "white")
    for i, (key, title) in enumerate(names.items()):
        points = [(event["step"], event[key]) for event in history if key in event]
        _plot(ImageDraw.Draw(whole), i * WIDE, title, points, history[-1]["step"])
    return whole


def _plot(draw: ImageDraw.ImageDraw, left: int, title: str, points: Sequence, last: int) -> None:
    """A frame, the numbers at the ends of its axes, and the points joined by a line."""
    top, right, bottom = EDGE, left + WIDE - EDGE, HIGH - EDGE
    left, most = left + EDGE, max((value for _, value in points), default=0) or 1
    draw.rectangle((left, top, right, bottom), outline="grey")
    place = [
        (left + step / last * (right - left), bottom - max(value, 0) / most * (bottom - top))
        for step, value in points
    ]
    draw.line(place, fill=COLOURS[0], width=2)
    for x, y in place if len(place) < FEW else ():
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLOURS[0])
    now = f", now {points[-1][1]:.3f}" if points else ": not computed yet"
    draw.text((left, top - CAPTION), f"{title}, 0 to {most:.3f}{now}", fill="black")
    draw.text((left, bottom + 2), f"step 0 to {last}", fill="black")


def png(picture: Image.Image | np.ndarray, software: str) -> bytes:
    """A PNG that says which program wrote it."""
    buffer, said = io.BytesIO(), PngInfo()
    said.add_text("Software", software)
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(buffer, "PNG", pnginfo=said)
    return buffer.getvalue()
