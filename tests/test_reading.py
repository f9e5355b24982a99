"""One image file: its bits a channel and its orientation."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import SHAPE, make, picture, refused, save
from PIL import Image

from naslora_core.data import check, folder
from naslora_core.data.image_io import read_image

DEEP = picture().astype(np.uint16) * 16  # 12 bits


def write_png(path: Path, values: np.ndarray) -> None:
    """A PNG of 16 bits a channel, grey or RGB; Pillow writes no such RGB."""
    height, width = values.shape[:2]
    kind = 2 if values.ndim == 3 else 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def write_tiff(path: Path, values: np.ndarray) -> None:
    """A TIFF of 16 bits a channel, RGB."""
    data, (height, width) = values.astype("<u2").tobytes(), values.shape[:2]
    start = 8 + len(data)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, start),  # 16, 16, 16 stand there
        (262, 3, 1, 2),  # RGB
        (273, 4, 1, 8),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
    ]
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    end = struct.pack("<HHHH", 16, 16, 16, len(tags)) + table + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", start + 6) + data + end)


WRITERS = {"png": write_png, "tif": write_tiff}


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("ending", WRITERS)
def test_16_bit_colour_is_refused(tmp_path, ending, kind):
    root = make(tmp_path / "mine")
    (root / kind / "p0.png").unlink()
    WRITERS[ending](root / kind / f"p0.{ending}", DEEP)
    refused(folder, root, f"p0.{ending}", "16-bit", "RGB")
    assert any(f"p0.{ending}" in fault for fault in check(root, progress=False).faults)


def test_16_bit_grey_is_spread(tmp_path):
    write_png(tmp_path / "p.png", DEEP[..., 0])
    image = read_image(tmp_path / "p.png")
    assert image.shape == (*SHAPE, 3) and image.min() == 0 and image.max() == 255


def test_what_is_not_finite_leaves_the_range_of_the_rest(tmp_path):
    ramp = np.linspace(-1100, -1000, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    save(tmp_path / "whole.tif", ramp)
    wanted = read_image(tmp_path / "whole.tif")
    ramp[3, 4:7] = np.nan, np.inf, -np.inf
    save(tmp_path / "holes.tif", ramp)
    found = read_image(tmp_path / "holes.tif").copy()
    assert found[3, 4:7, 0].tolist() == [0, 255, 0]
    found[3, 4:7] = wanted[3, 4:7]
    assert np.array_equal(found, wanted)
    save(tmp_path / "none.tif", np.full(SHAPE, np.nan, np.float32))
    assert not read_image(tmp_path / "none.tif").any()


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize(("orientation", "told"), [(0, 0), (1, 0), (3, 1), (9, 0)])
def test_only_an_orientation_that_turns_is_noted(tmp_path, orientation, told, ending):
    root, exif = make(tmp_path), Image.Exif()
    exif[0x0112] = orientation
    (root / "images/p1.png").unlink()
    save(root / f"images/p1.{ending}", picture(1), exif=exif)
    report = check(root, progress=False)
    assert report.ok and sum("EXIF" in note for note in report.notes) == told
