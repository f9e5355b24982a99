"""A folder of images and masks: what is read of it (its faults: test_data_faults)."""

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import SHAPE, contents, make, names, picture, save, square
from PIL import Image

from naslora_core.data import Sample, dataset, folder
from naslora_core.errors import UserError


def test_a_binary_folder(tmp_path):
    root = make(tmp_path / "mine")
    before = contents(root)
    data = folder(root)
    assert data.name == "mine" and data.classes == ("object",)
    assert all(map(len, (data.train, data.val, data.test)))
    assert set.union(*names(data)) == {f"p{i}" for i in range(10)}
    one = data.train[0]
    assert np.array_equal(one.image, picture(int(one.name[1:])))
    assert np.array_equal(one.mask, square(1)) and one.mask.dtype == np.uint8
    assert contents(root) == before


def test_zero_one_and_zero_255_may_stand_side_by_side(tmp_path):
    root = make(tmp_path)
    save(root / "masks" / "p0.png", square(1))
    data = folder(root)
    assert data.classes == ("object",)
    assert all(s.mask.max() == 1 for split in (data.train, data.val, data.test) for s in split)


def test_class_numbers_are_kept(tmp_path):
    root = make(tmp_path, value=1)
    save(root / "masks" / "p3.png", square(3))
    data = folder(root)
    assert any("1 of 3 classes" in note and "class 2" in note for note in data.notes)
    assert data.classes == ("class 1", "class 2", "class 3")
    every = [s for split in (data.train, data.val, data.test) for s in split]
    assert {s.name: s.mask.max() for s in every}["p3"] == 3


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "tiff", "bmp", "JPG", "jpeg", "webp"])
def test_formats(tmp_path, ending):
    root = make(tmp_path, 5)
    (root / "images" / "p0.png").unlink()
    save(root / "images" / f"p0.{ending}", picture())
    data = folder(root)
    one = next(s for split in (data.train, data.val, data.test) for s in split if s.name == "p0")
    assert one.image.shape == (*SHAPE, 3)


def only(root: Path, name: str = "p0"):
    data = folder(root)
    return next(s for split in (data.train, data.val, data.test) for s in split if s.name == name)


def replace(root: Path, kind: str, image, ending: str = "png", **options) -> None:
    (root / kind / "p0.png").unlink()
    save(root / kind / f"p0.{ending}", image, **options)


def test_grey_rgba_palette_and_cmyk_become_rgb(tmp_path):
    for mode in ("L", "LA", "RGBA", "P", "1"):
        root = make(tmp_path / mode, 3)
        replace(root, "images", Image.fromarray(picture()).convert(mode))
        assert only(root).image.shape == (*SHAPE, 3), mode
    replace(root, "images", Image.fromarray(picture()).convert("CMYK"), "tif")
    assert np.abs(only(root).image.astype(int) - picture()).max() <= 2


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_images_use_their_own_range(tmp_path, kind):
    root = make(tmp_path, 3)
    ramp = np.linspace(100, 4100, SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(kind)
    replace(root, "images", Image.fromarray(ramp), "tif")
    image = only(root).image
    assert image.min() == 0 and image.max() == 255 and (image[..., 0] == image[..., 2]).all()
    assert (np.diff(image[..., 0].ravel().astype(int)) >= 0).all()


def test_exif_orientation_is_applied(tmp_path):
    root = make(tmp_path, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    lying = np.rot90(picture())  # stored so that the turn restores the picture
    replace(root, "images", np.ascontiguousarray(lying), exif=exif)
    assert np.array_equal(only(root).image, picture())


def test_mask_formats(tmp_path):
    grey = Image.fromarray(square())
    palette = Image.fromarray(square(1))
    palette.putpalette([0, 0, 0, 200, 30, 30])
    for i, mask in enumerate((grey.convert("1"), grey.convert("RGB"), grey.convert("LA"), palette)):
        root = make(tmp_path / str(i), 3)
        replace(root, "masks", mask)
        assert np.array_equal(only(root).mask, square(1))


def test_colours_saved_as_classes_are_told(tmp_path):
    root = make(tmp_path, 3)
    for i in range(3):
        save(root / "masks" / f"p{i}.png", square(15))  # a web palette's red
    data = folder(root)
    assert len(data.classes) == 15 and any("14 of 15 classes" in note for note in data.notes)


def test_split_json_decides(tmp_path):
    root = make(tmp_path, 6)
    split = {"train": ["p5", "p1"], "val": ["p0"], "test": ["p2"]}
    (root / "split.json").write_text(json.dumps(split))
    data = folder(root)
    assert data.train.keys == ("p5", "p1") and names(data)[1:] == [{"p0"}, {"p2"}]


def test_split_json_may_begin_with_a_byte_order_mark(tmp_path):
    root, split = make(tmp_path, 3), {"train": ["p1"], "val": ["p0"], "test": ["p2"]}
    (root / "split.json").write_text(json.dumps(split), encoding="utf-8-sig")
    assert names(folder(root)) == [{"p1"}, {"p0"}, {"p2"}]


def test_accents_may_be_apart_in_one_place_and_not_in_another(tmp_path):
    root, split = make(tmp_path, 3), {"train": ["p1"], "val": ["p0"], "test": ["e\u0301"]}
    (root / "images/p2.png").rename(root / "images/e\u0301.png")  # as macOS packs it
    (root / "masks/p2.png").rename(root / "masks/\u00e9.png")
    (root / "split.json").write_text(json.dumps(split))
    assert names(folder(root)) == [{"p1"}, {"p0"}, {"\u00e9"}]


def test_the_hashed_split_is_fixed(tmp_path):
    root = make(tmp_path, 20)
    assert names(folder(root)) == names(folder(str(root)))


def test_samples_are_read_late_and_kept_within_bounds(tmp_path, monkeypatch):
    root = make(tmp_path, 5)
    assert all(s is t for s, t in zip(*[folder(root).train] * 2, strict=True))
    monkeypatch.setattr(dataset, "KEEP", 0)
    data = folder(root)
    assert data.train[0] is not data.train[0]
    assert data.train[-1].name == data.train[len(data.train) - 1].name
    assert [s.name for s in data.train[1:]] == list(data.train.keys[1:])
    with pytest.raises(IndexError):
        data.train[99]


def test_an_image_that_is_too_large_to_keep_leaves_room_for_others(monkeypatch):
    monkeypatch.setattr(dataset, "KEEP", 4 * 4 * 4)
    sizes = {"large": 9, "small": 4}

    def read(name):
        side = sizes[name]
        return Sample(np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8), name)

    split = dataset.Split(read, ("large", "small"))
    assert split[0] is not split[0] and split[1] is split[1]


def test_a_huge_image_is_refused_by_name(tmp_path, monkeypatch):
    root = make(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"p0\.png.*--tile"):
        folder(root)


def test_what_lies_beside_is_left_alone(tmp_path):
    """Notes, thumbnails, hidden files and masks without an image."""
    root = make(tmp_path, 5)
    for name in ("images/notes.txt", "images/._p1.png", "masks/.DS_Store", "readme.md"):
        (root / name).write_text("hello")
    save(root / "masks" / "q.png", square())
    assert sum(map(len, names(folder(root)))) == 5


SETS = {"kvasir_polyp": (540, 60, 120, 1), "cwfid_cropweed": (35, 4, 21, 2)}
SETS |= {"chase_retina": (16, 4, 8, 1), "dsb2018_nuclei": (168, 24, 48, 1)}


@pytest.mark.data
@pytest.mark.parametrize("name", SETS)
def test_real_sets_load(real_data, name):
    data = folder(real_data / name)
    *sizes, classes = SETS[name]
    assert [len(s) for s in (data.train, data.val, data.test)] == sizes
    assert len(data.classes) == classes
    one = data.train[0]
    assert one.image.shape[:2] == one.mask.shape and one.mask.max() <= classes
