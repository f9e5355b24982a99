"""One mask, whatever its format: the numbers that are read are those that are seen."""

import numpy as np
import pytest
from pictures import SHAPE, make, save, square
from PIL import Image

from naslora_core.data import check, folder
from naslora_core.data.mask_io import read_mask
from naslora_core.errors import UserError

SEEN = square() > 0
WHITE_FIRST, BLACK_FIRST = [255, 255, 255, 0, 0, 0], [0, 0, 0, 255, 255, 255]


def paletted(numbers: np.ndarray, palette: list[int]) -> Image.Image:
    """A picture of palette colours with these numbers."""
    image = Image.fromarray(numbers.astype(np.uint8))
    image.putpalette(palette)
    return image


def clear(shown: np.ndarray, colour: np.ndarray, mode: str = "RGBA") -> Image.Image:
    """A mask of that colour, opaque where it is shown."""
    alpha = Image.fromarray((shown * 255).astype(np.uint8))
    image = Image.fromarray(colour).convert(mode)
    image.putalpha(alpha)
    return image


WHITE = np.full(SHAPE, 255, np.uint8)
READ = {
    "white first": paletted(~SEEN, WHITE_FIRST),
    "white first, unused": paletted(np.where(SEEN, 2, 1), [*WHITE_FIRST, 255, 255, 255]),
    "black first": paletted(SEEN, BLACK_FIRST),
    "quantized": Image.fromarray(square()).convert("RGB").quantize(2),
    "numbers in colour": paletted(SEEN * 3, [0, 0, 0, 9, 9, 9, 8, 8, 8, 200, 0, 0]),
    "black where clear": clear(SEEN, square()),
    "clear all over": clear(np.zeros(SHAPE), square()),
}


@pytest.mark.parametrize("kind", READ)
def test_the_object_is_where_it_is_seen(tmp_path, kind):
    save(tmp_path / "m.png", READ[kind])
    assert np.array_equal(read_mask(tmp_path / "m.png") > 0, SEEN)


def test_numbers_of_a_coloured_palette_whose_first_colour_is_unused_are_kept(tmp_path):
    save(tmp_path / "m.png", paletted(np.where(SEEN, 2, 1), [9, 8, 7, 200, 0, 0, 0, 200, 0]))
    assert np.unique(read_mask(tmp_path / "m.png")).tolist() == [1, 2]


def test_a_palette_of_colours_without_a_black_first_is_a_mask_in_colour(tmp_path):
    save(tmp_path / "m.png", paletted(SEEN, [0, 0, 90, 200, 0, 0]))
    with pytest.raises(UserError, match=r"colour \(P, 2 colours\).*\(0, 0, 90\) -> 0"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize(
    "mask",
    [clear(SEEN, WHITE), clear(SEEN, WHITE, "L"), paletted(SEEN, [255] * 6)],
    ids=["RGBA", "LA", "P"],
)
def test_a_mask_in_the_alpha_channel_is_refused(tmp_path, mask):
    root = make(tmp_path / "mine")
    save(root / "masks/p1.png", mask, **({"transparency": 0} if mask.mode == "P" else {}))
    with pytest.raises(UserError, match=r"p1\.png .*alpha channel"):
        folder(root)
    (fault,) = check(root, progress=False).faults
    assert "alpha channel" in fault
