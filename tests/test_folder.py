"""A folder of images and masks: what is read, and every fault named with its file and remedy."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pictures import SHAPE, contents, make, names, picture, save, square
from PIL import Image

from naslora_core.data import Sample
from naslora_core.data import from_folder as folder
from naslora_core.data import index as dataset
from naslora_core.data.splits import hashed_splits
from naslora_core.errors import UserError


def test_a_binary_folder(tmp_path):
    root = make(tmp_path / "mine")
    before = contents(root)
    data = folder(root)
    assert data.name == "mine" and data.classes == ("object",)
    assert [len(s) for s in (data.train, data.val, data.test)] == [7, 1, 2]
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
    with pytest.warns(UserWarning, match="1 of 3 classes occur nowhere: class 2"):
        data = folder(root)
    assert data.classes == ("class 1", "class 2", "class 3")
    every = [s for split in (data.train, data.val, data.test) for s in split]
    assert {s.name: s.mask.max() for s in every}["p3"] == 3


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "tiff", "bmp", "JPG", "jpeg"])
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
    with pytest.warns(UserWarning, match="14 of 15 classes occur nowhere.*renumber the masks"):
        assert len(folder(root).classes) == 15


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


def test_the_hashed_split_is_fixed_and_has_a_seed(tmp_path):
    root = make(tmp_path, 20)
    assert names(folder(root)) == names(folder(str(root))) != names(folder(root, split_seed=1))
    golden = {"train": ["b", "c", "e"], "val": ["d"], "test": ["a"]}
    assert {k: sorted(v) for k, v in hashed_splits("abcde").items()} == golden


@pytest.mark.parametrize("count", [3, 4, 5, 9, 10, 101])
def test_the_hashed_split_is_complete_and_disjoint(count):
    splits = hashed_splits([str(i) for i in range(count)])
    together = [n for part in splits.values() for n in part]
    assert len(together) == len(set(together)) == count and all(splits.values())


def test_samples_are_read_late_and_kept_within_bounds(tmp_path, monkeypatch):
    root = make(tmp_path, 5)
    monkeypatch.setattr(dataset, "KEEP", SHAPE[0] * SHAPE[1] * 4)  # one sample
    data = folder(root)
    first, second = data.train[0], data.train[1]
    assert data.train[0] is first and data.train[1] is not second
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


# --- faults: what is done to a good folder, and what the message must hold ---


def _text(name: str, words: str | bytes):
    def spoil(root: Path):
        data = words if isinstance(words, bytes) else words.encode()
        (root / name).write_bytes(data)

    return spoil


def _put(name: str, values, **options):
    return lambda root: save(root / name, values, **options)


def _split(**splits):
    good = {"train": ["p0", "p1"], "val": ["p2"], "test": ["p3"]}
    return _text("split.json", json.dumps(good | splits))


def _remove(*names: str):
    return lambda root: [(root / n).unlink() for n in names]


def _empty(kind: str):
    return lambda root: [p.unlink() for p in (root / kind).iterdir()]


def _move(old: str, new: str):
    return lambda root: (root / old).rename(root / new)


def _truncate(name: str, keep: float):
    def spoil(root: Path):
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: int(len(data) * keep)])

    return spoil


def _all_masks(value: int):
    def spoil(root: Path):
        for p in (root / "masks").iterdir():
            save(p, square(value))

    return spoil


def _both(*spoilers):
    return lambda root: [spoil(root) for spoil in spoilers]


def _lying(root: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "images" / "p1.png", picture(), exif=exif)


COLOURED = np.repeat(square()[..., None], 3, 2) // np.array([1, 2, 3], np.uint8)
BLURRED = np.tile(np.linspace(0, 255, SHAPE[1]).astype(np.uint8), (SHAPE[0], 1))
INSTANCES = np.arange(SHAPE[0] * SHAPE[1], dtype=np.int32).reshape(SHAPE)
NEGATIVE = square().astype(np.int32) - 1
FRACTIONS = (square() / 510).astype(np.float32)
LEVELS = square(127) + np.roll(square(255), 15, 1) * (np.roll(square(), 15, 1) > 0)

FAULTS = {
    "images missing": (_move("images", "pictures"), r"images;.*expected"),
    "masks missing": (_move("masks", "labels"), r"masks;.*expected"),
    "images is a file": (_both(_move("images", "x"), _text("images", "hello")), r"images;"),
    "no images": (_empty("images"), r"images holds no picture.*\.png"),
    "no masks": (_empty("masks"), r"masks holds no picture"),
    "one mask missing": (_remove("masks/p4.png"), r"1 image\(s\) \(p4\).*masks.*add"),
    "many masks missing": (
        _remove(*(f"masks/p{i}.png" for i in range(5))),
        r"5 image\(s\) \(p0, p1, p2 and 2 more\)",
    ),
    "mask under another name": (_move("masks/p4.png", "masks/p4_mask.png"), r"\(p4\).*same name"),
    "two images of one name": (_put("images/p1.jpg", picture()), r"p1\.png.*p1\.jpg.*rename"),
    "two masks of one name": (_put("masks/p1.bmp", square()), r"p1\.png.*p1\.bmp"),
    "mask of another size": (
        _put("masks/p1.png", square(255, (20, 30))),
        r"p1\.png is 30x20 pixels.*40x24.*nearest",
    ),
    "mask turned": (_put("masks/p1.png", square().T.copy()), r"24x40.*40x24.*EXIF"),
    "image turned by EXIF": (_lying, r"40x24.*24x40.*EXIF"),
    "image truncated": (_truncate("images/p1.png", 0.6), r"images.p1\.png does not open.*again"),
    "image empty": (_text("images/p1.png", ""), r"images.p1\.png does not open"),
    "image is text": (_text("images/p1.png", "hello"), r"images.p1\.png does not open"),
    "mask truncated": (_truncate("masks/p1.png", 0.7), r"masks.p1\.png does not open"),
    "jpeg truncated": (
        _both(
            _remove("images/p1.png"),
            _put("images/p1.jpg", picture()),
            _truncate("images/p1.jpg", 0.5),
        ),
        r"p1\.jpg does not open.*truncated",
    ),
    "mask in colour": (
        _put("masks/p1.png", COLOURED),
        r"p1\.png.*colour \(RGB, 2 colours\).*number",
    ),
    "mask in colour with alpha": (
        _put("masks/p1.png", Image.fromarray(COLOURED).convert("RGBA")),
        r"p1\.png.*colour \(RGBA",
    ),
    "mask in CMYK": (
        _both(
            _remove("masks/p1.png"),
            _put("masks/p1.tif", Image.fromarray(COLOURED).convert("CMYK")),
        ),
        r"p1\.tif.*colour \(CMYK",
    ),
    "mask of grey levels": (_put("masks/p1.png", LEVELS), r"0, 127, 255.*127 -> 1, 255 -> 2"),
    "mask blurred by jpeg": (_put("masks/p1.png", BLURRED), r"40 value\(s\).*threshold it at 128"),
    "mask of object numbers": (
        _both(_remove("masks/p1.png"), _put("masks/p1.tif", Image.fromarray(INSTANCES))),
        r"p1\.tif holds the 960 value\(s\).*object numbers",
    ),
    "mask of negative values": (
        _both(_remove("masks/p1.png"), _put("masks/p1.tif", Image.fromarray(NEGATIVE))),
        r"p1\.tif holds the 2 value\(s\) -1, 254.*0/255",
    ),
    "mask of fractions": (
        _both(_remove("masks/p1.png"), _put("masks/p1.tif", Image.fromarray(FRACTIONS))),
        r"p1\.tif.*0, 0\.5.*renumber",
    ),
    "255 among class numbers": (
        _put("masks/p1.png", square(2)),
        r"p0\.png holds 255.*numbers up to 2",
    ),
    "ignored border": (
        _put("masks/p1.png", np.maximum(square(1), np.roll(square(255), 15, 1))),
        r"p1\.png.*0, 1, 255.*renumber",
    ),
    "all masks empty": (_all_masks(0), r"masks is empty.*255"),
    "too few images": (
        _remove(*(f"{k}/p{i}.png" for k in ("images", "masks") for i in range(8))),
        r"2 image\(s\) are too few.*3 or more",
    ),
    "split not json": (_text("split.json", "{train:"), r"split\.json is malformed"),
    "split not text": (_text("split.json", b"\xff\xfe\x00"), r"split\.json is malformed"),
    "split a list": (_text("split.json", "[1, 2]"), r"split\.json is malformed"),
    "split without val": (
        _text("split.json", '{"train": [], "test": []}'),
        r"malformed \(KeyError\('val'\)\).*\[\.\.\.\]\} with lists",
    ),
    "split of strings": (_split(train="p0"), r"split\.json is malformed.*list"),
    "split is a folder": (lambda root: (root / "split.json").mkdir(), r"split\.json is malformed"),
    "split unknown": (_split(val=["q7"]), r"split\.json: val names 1 image\(s\) \(q7\)"),
    "split with endings": (
        _split(val=["p2.png"]),
        r"\(p2\.png\).*without folder and ending.*e\.g\. p2;",
    ),
    "split empty": (_split(test=[]), r"split\.json: test is empty"),
    "split overlapping": (_split(val=["p1"]), r"\(p1\) both in train and in val"),
    "split of lists": (
        _split(val=[["p2"]]),
        r"val names 1 image\(s\) \(\['p2'\]\)",
    ),
    "split twice": (_split(test=["p3", "p3"]), r"test lists 1 image\(s\) \(p3\) twice"),
}


def spoiled(root: Path, fault: str) -> Path:
    """A folder with that fault."""
    FAULTS[fault][0](make(root))
    return root


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_clear_sentence_and_nothing_is_written(tmp_path, fault):
    root, words = spoiled(tmp_path / "mine", fault), FAULTS[fault][1]
    before = contents(root)
    with pytest.raises(UserError) as caught:
        folder(root)
    message = str(caught.value)
    assert re.search(words, message), message
    assert "mine" in message and "\n" not in message and message.endswith(".")
    assert contents(root) == before


def test_a_huge_image_is_refused_by_name(tmp_path, monkeypatch):
    root = make(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"p0\.png does not open.*DecompressionBomb"):
        folder(root)


@pytest.mark.parametrize("path", ["", "nowhere", "file.txt"])
def test_no_folder(tmp_path, path):
    (tmp_path / "file.txt").write_text("hello")
    with pytest.raises(UserError, match=r"images"):
        folder(tmp_path / path)


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
