"""Truth that would change silently, advice that would spoil data, names and places: one by one."""

import json
import pickle
import struct
import unicodedata
import zlib
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from pictures import (
    SHAPE,
    annotation,
    box,
    every,
    instances,
    make,
    picture,
    refused,
    rows,
    save,
    square,
    write_coco,
    write_table,
)  # fmt: skip
from PIL import Image
from tiny import squares

from naslora_core.data import (
    IGNORE,
    Dataset,
    Sample,
    Split,
    check,
    check_samples,
    coco,
    content,
    csv_table,
    folder,
    inspection,
    match_classes,
    open_data,
    with_classes,
)  # fmt: skip
from naslora_core.data.image_io import data_range, read_image
from naslora_core.data.mask_io import check_values, read_mask
from naslora_core.errors import UserError
from naslora_core.training.evaluation import score_masks
from naslora_core.training.losses import LOSSES, matched_loss
from naslora_workbook.research import structure_metrics  # noqa: F401  (enters its metrics)


def noted(data: Dataset, *words: str) -> bool:
    return any(all(word in note for word in words) for note in data.notes)


# --- class names ---


@pytest.mark.parametrize(
    ("model", "data", "numbers"),
    [
        (("crop", "weed"), ("weed", "crop"), (2, 1)),
        (("a", "b", "c"), ("C", "a"), (3, 1)),
        (("crop", "weed"), ("class 1", "class 2"), (1, 2)),
        (("object",), ("polyp",), (1,)),
    ],
)
def test_classes_match_by_name_and_by_number_where_names_say_nothing(model, data, numbers):
    assert match_classes(model, data) == numbers


@pytest.mark.parametrize(
    ("model", "data"),
    [(("crop",), ("weed",)), (("a", "b"), ("a", "c")), (("object",), ("a", "b")),
     (("a", "b"), ("object",))],
)  # fmt: skip
def test_a_class_that_the_model_does_not_know_is_refused(model, data):
    with pytest.raises(UserError, match=data[-1]):
        match_classes(model, data)


def test_masks_are_renumbered_as_the_model_numbers_them_and_ignored_pixels_stay():
    sample = Sample(picture(), square(1), "a")
    sample.mask[0, 0], sample.mask[20, 30] = IGNORE, 2
    data = Dataset("x", ("weed", "crop"), [sample], Split(lambda key: sample, ["a"]), [])
    changed = with_classes(data, ("crop", "weed"))
    for split in (changed.train, changed.val):
        mask = split[0].mask
        assert mask[5, 8] == 2 and mask[20, 30] == 1 and mask[0, 0] == IGNORE
    assert changed.classes == ("crop", "weed") and sample.mask[5, 8] == 1


# --- COCO: background, parents, crowds, covered objects ---


@pytest.mark.parametrize("name", ["Background", "__background__"])
def test_a_category_called_background_is_no_class(tmp_path, name):
    data = instances()
    data["categories"].append({"id": 1, "name": name})
    data["annotations"].append(annotation(60, 100, 1, box(0, 0, 40, 24)))
    found = coco(write_coco(make(tmp_path), data))
    assert found.classes == ("crop", "weed") and noted(found, name)
    assert np.array_equal(every(found)["p0"].mask, square(1))


@pytest.mark.parametrize("used", [True, False])
def test_a_parent_without_objects_is_no_class(tmp_path, used):
    data = instances()
    data["categories"] = [{"id": 0, "name": "plants", "supercategory": "none"}]
    data["categories"] += [{"id": 7, "name": "crop", "supercategory": "plants"}]
    if used:
        data["annotations"].append(annotation(60, 100, 0, box(22, 14, 30, 20)))
    found = coco(write_coco(make(tmp_path), data))
    assert found.classes == (("plants", "crop") if used else ("crop",))
    assert noted(found, "plants") != used


@pytest.mark.parametrize("packed", [True, False])
def test_objects_that_a_brush_wrote_as_crowds_are_drawn(tmp_path, packed):
    from pycocotools import mask

    ends = np.flatnonzero(np.diff(square().ravel("F"))) + 1
    counts = np.diff([0, *ends, square().size]).tolist()
    if packed:
        counts = mask.encode(np.asfortranarray(square(1)))["counts"].decode()
    data = instances()
    for entry in data["annotations"][:4]:
        entry |= {"iscrowd": 1, "segmentation": {"counts": counts, "size": list(SHAPE)}}
    found = coco(write_coco(make(tmp_path), data))
    assert noted(found, "4 object(s)", "iscrowd")
    assert all(np.array_equal(one.mask, square(1)) for one in every(found).values())


@pytest.mark.parametrize("images", [1, 10])
def test_objects_that_later_ones_cover_are_named(tmp_path, images):
    data = instances()
    whole = [annotation(60 + i, 100 + i, 9, box(0, 0, 40, 24)) for i in range(images)]
    report = check(write_coco(make(tmp_path), data | {"annotations": data["annotations"] + whole}),
                   progress=False)  # fmt: skip
    assert any(f"{images} object(s) (crop in p" in note for note in report.notes)
    part = [annotation(60, 100, 9, box(8, 0, 40, 24))]
    report = check(write_coco(tmp_path, data | {"annotations": data["annotations"] + part}),
                   progress=False)  # fmt: skip
    assert not any("covered" in note for note in report.notes)


# --- masks: lossy files, ignored pixels, the alpha channel, blurred edges ---


@pytest.mark.parametrize("value", [1, 3])
@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_class_numbers_in_a_lossy_file_are_refused(tmp_path, ending, value):
    root = make(tmp_path, 4)
    (root / "masks/p1.png").unlink()
    noisy = square(value) + (picture(3)[..., 0] > 128)  # so that compression has to round
    save(root / f"masks/p1.{ending}", noisy.astype(np.uint8), quality=75)
    refused(folder, root, f"p1.{ending}", "PNG")


def test_a_lossless_webp_keeps_class_numbers(tmp_path):
    save(tmp_path / "m.webp", np.repeat(square(3)[..., None], 3, 2), lossless=True)
    assert np.array_equal(read_mask(tmp_path / "m.webp"), square(3))


def border(value: int, ignored: int = IGNORE) -> np.ndarray:
    """A square with a border of one pixel to ignore."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:13, 5:21] = ignored
    return np.where(square() > 0, value, mask).astype(np.uint8)


@pytest.mark.parametrize("value", [1, 2])
def test_255_beside_class_numbers_is_ignored(tmp_path, value):
    root = make(tmp_path)
    for i in range(10):
        save(root / f"masks/p{i}.png", border(value if i else 1))
    data = folder(root)
    assert data.classes == (("object",) if value == 1 else ("class 1", "class 2"))
    assert noted(data, "10 mask(s)", "255")
    assert np.array_equal(every(data)["p3"].mask, border(value))


def test_0_and_255_beside_a_few_ignored_borders_is_a_fault(tmp_path):
    root = make(tmp_path)
    save(root / "masks/p4.png", border(1))
    refused(folder, root, "p0.png", "255")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_a_loss_does_not_depend_on_what_lies_under_ignored_pixels(name, classes):
    torch.manual_seed(0)
    logits, labels = torch.randn(2, classes, 40, 40), torch.randint(0, classes + 1, (2, 40, 40))
    labels[:, :, :10] = IGNORE
    other = torch.where(labels[:, None] == IGNORE, torch.randn_like(logits) * 9, logits)
    loss = LOSSES[name](logits.requires_grad_(), labels)
    assert torch.equal(loss, LOSSES[name](other, labels))
    loss.backward()
    assert not logits.grad[..., :10].any() and logits.grad[..., 10:].any()
    if not name.startswith("structure"):  # its windows see the ignored part as background
        whole = LOSSES[name](logits[..., 10:], labels[..., 10:])
        assert torch.isclose(loss, whole, rtol=1e-5)
    assert torch.isfinite(LOSSES[name](logits, torch.full_like(labels, IGNORE)))


def test_the_matched_loss_leaves_ignored_pixels_out():
    torch.manual_seed(0)
    masks, classes = torch.randn(2, 5, 16, 16), torch.randn(2, 5, 3)
    labels = torch.randint(0, 3, (2, 64, 64))
    labels[..., :16] = IGNORE
    other = masks.clone()
    other[..., :4] = 7
    assert torch.equal(matched_loss(masks, classes, labels), matched_loss(other, classes, labels))


def test_scores_leave_ignored_pixels_out():
    truth, found = border(1), square(1)
    wrong = np.where(truth == IGNORE, 1, found).astype(np.uint8)
    samples = [Sample(picture(), truth, "a")]
    for mask in (found, wrong):
        scores = score_masks([mask], samples, metrics=("ber", "mae", "s_measure"))
        assert scores.dice[0] == 1 and scores.more["ber"][0] == 0 and scores.more["mae"][0] == 0
        assert scores.counts.sum() == (truth != IGNORE).sum()
        assert np.isclose(scores.more["s_measure"][0], 1, atol=1e-6)


@pytest.mark.parametrize("colour", [(0, 0, 0), (200, 30, 30), (255, 255, 255)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_mask_in_the_alpha_channel_is_refused_whatever_its_colour(tmp_path, mode, colour):
    image = Image.new("RGB", SHAPE[::-1], colour).convert(mode)
    image.putalpha(Image.fromarray(square()))
    root = make(tmp_path, 4)
    save(root / "masks/p1.png", image)
    refused(folder, root, "p1.png", "alpha")


@pytest.mark.parametrize(
    "greys", [(0, 120, 131, 255), (0, 3, 90, 200, 254, 255), tuple(range(0, 256, 5))]
)
def test_a_blurred_mask_is_told_to_be_thresholded_first(greys):
    with pytest.raises(UserError, match="threshold it at 128") as caught:
        check_values("m.png", dict.fromkeys(greys, 5))
    assert "-> 1" not in str(caught.value)


@pytest.mark.parametrize("greys", [(0, 85, 170, 255), (0, 100, 200)])
def test_even_steps_are_taken_for_classes_first(greys):
    with pytest.raises(UserError) as caught:
        check_values("m.png", dict.fromkeys(greys, 5))
    message = str(caught.value)
    assert 0 < message.index(f"{greys[1]} -> 1") < message.index("128")


# --- pictures: no data, bands, megapixels ---


@pytest.mark.parametrize("nodata", [-9999, -32768, 65535, -3.4e38, 1e30])
def test_pixels_without_data_leave_the_contrast_of_the_others(tmp_path, nodata):
    ramp = np.linspace(100, 300, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    save(tmp_path / "whole.tif", ramp)
    holes = ramp.copy()
    holes[:3] = nodata
    save(tmp_path / "holes.tif", holes)
    found, whole = read_image(tmp_path / "holes.tif"), read_image(tmp_path / "whole.tif")
    assert np.abs(found[3:].astype(int) - whole[3:]).max() < 45 and found[3:].max() == 255
    assert len(np.unique(found)) > 200


@pytest.mark.parametrize("values", [(0, 1, 2, 4095), (0, 4095), (5,), (0, 50, 120, 180)])
def test_a_range_is_cut_only_at_a_value_far_from_all_others(values):
    low, high = data_range(np.array(values, float))
    assert (low, high) == ((0, 2) if values == (0, 1, 2, 4095) else (values[0], values[-1]))


def tiff(path: Path, bands: int, bits: int, kind: int) -> None:
    """A whole TIFF of so many bands, 4 x 4 pixels."""
    data = bytes(16 * bands * bits // 8)
    count = max(bands, 3)  # so that the list of bits stands outside of its tag
    start = 8 + len(data)
    lists = struct.pack(f"<{count}H", *[bits] * count) + struct.pack(f"<{count}H", *[kind] * count)
    tags = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 3, count, start), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 1, 8), (277, 3, 1, bands), (278, 4, 1, 4), (279, 4, 1, len(data)),
            (339, 3, count, start + 2 * count)]  # fmt: skip
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", start + len(lists)) + data + lists + table
                     + bytes(4))  # fmt: skip


@pytest.mark.parametrize(("bands", "bits", "kind"), [(5, 8, 1), (12, 16, 1), (3, 64, 3)])
def test_a_whole_tiff_of_other_bands_is_told_what_it_is(tmp_path, bands, bits, kind):
    root = make(tmp_path, 4)
    (root / "images/p1.png").unlink()
    tiff(root / "images/p1.tif", bands, bits, kind)
    refused(folder, root, "p1.tif", f"{bands} band(s) of {bits} bits")


@pytest.mark.parametrize("side", [15_000, 30_000])
def test_a_picture_of_too_many_pixels_is_told_of_tiles(tmp_path, side):
    """A head alone: what a decompression bomb and a whole slide begin with."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    chunk += struct.pack(">I", 100) + b"IDAT"
    root = make(tmp_path, 4)
    (root / "images/p1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    refused(folder, root, "p1.png", f"{side**2 / 1e6:.3g} megapixels", "--tile")


# --- names and places ---


SPELLINGS = {
    "%20": (lambda i: f"my image é {i}", lambda name: quote(name)),
    "letter case": (lambda i: f"Img{i}", str.upper),
    "apart": (lambda i: f"é{i}", lambda name: unicodedata.normalize("NFD", name)),
    "together": (lambda i: unicodedata.normalize("NFD", f"é{i}"), lambda name: f"é{name[-1]}"),
    "leading folders": (lambda i: f"p{i}", lambda name: f"C:\\project\\images\\{name}"),
}


def spelt(root: Path, name) -> Path:
    """Pictures of these names."""
    for i in range(10):
        for kind, values in (("images", picture(i)), ("masks", square())):
            save(root / kind / f"{name(i)}.png", values)
    return root


@pytest.mark.parametrize("way", SPELLINGS)
def test_files_are_found_by_a_csv_and_a_json_that_spell_them_otherwise(tmp_path, way):
    name, told = SPELLINGS[way]
    root, data = spelt(tmp_path, name), instances()
    for i, image in enumerate(data["images"]):
        image["file_name"] = f"{told(name(i))}.png"
    assert len(every(coco(write_coco(root, data)))) == 10
    table = [{"image": f"images/{told(name(i))}.png", "label": f"masks/{name(i)}.png"}
             for i in range(10)]  # fmt: skip
    if way == "leading folders":
        table = [{k: f"/home/me/{v}" for k, v in row.items()} for row in rows()]
    assert len(every(csv_table(write_table(root, table)))) == 10


@pytest.mark.parametrize("way", ["%20", "letter case", "apart"])
def test_masks_and_splits_that_are_spelt_otherwise_are_found(tmp_path, way):
    name, told = SPELLINGS[way]
    root = spelt(tmp_path, name)
    for i in range(10):
        (root / f"masks/{name(i)}.png").rename(root / f"masks/{told(name(i))}.PNG")
    lists = {"train": [f"images/{told(name(0))}.png"], "val": [told(name(1))], "test": [name(2)]}
    (root / "split.json").write_text(json.dumps(lists))
    data = folder(root)
    wanted = [unicodedata.normalize("NFC", name(i)) for i in range(3)]
    assert [s[0].name for s in (data.train, data.val, data.test)] == wanted


@pytest.mark.parametrize("missing", [0, 7])
def test_one_missing_file_among_many_is_the_one_that_is_named(tmp_path, missing):
    """Not all of them, and not the mask of the same name."""
    root = make(tmp_path)
    (root / f"images/p{missing}.png").rename(root / f"images/p{missing}_new.png")
    for load, file in ((coco, write_coco(root, instances())),
                       (csv_table, write_table(root, rows()))):  # fmt: skip
        message = refused(load, file, f"(p{missing}.png)" if load is coco else f"p{missing}.png")
        assert f"p{missing}_new.png" in message


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_subfolders_are_named_where_no_picture_lies(tmp_path, kind):
    root = make(tmp_path)
    for part in ("site a", "site b"):
        (root / kind / part).mkdir()
    for file in list((root / kind).glob("*.png")):
        file.rename(root / kind / "site a" / file.name)
    refused(folder, root, kind, "site a, site b")


def test_a_folder_of_splits_is_told_which_folder_to_name(tmp_path):
    make(tmp_path / "train")
    refused(folder, tmp_path, "train")


@pytest.mark.parametrize("place", ["images/train2017", "photos"])
def test_images_in_another_folder_near_the_json_are_found(tmp_path, place):
    (tmp_path / "annotations").mkdir()
    for i in range(3):
        save(tmp_path / place / f"p{i}.png", picture(i))
    assert len(every(coco(write_coco(tmp_path / "annotations", instances(3))))) == 3


# --- the Python API ---


BAD = {
    "bool": lambda s: Sample(s.image, s.mask.astype(bool), s.name),
    "int64": lambda s: Sample(s.image, s.mask.astype(np.int64), s.name),
    "float": lambda s: Sample(s.image, s.mask.astype(np.float32), s.name),
    "H W 1": lambda s: Sample(s.image, s.mask[..., None], s.name),
    "0..1": lambda s: Sample(s.image / 255, s.mask, s.name),
    "H W 4": lambda s: Sample(np.dstack([s.image, s.mask]), s.mask, s.name),
    "3 H W": lambda s: Sample(s.image.transpose(2, 0, 1), s.mask, s.name),
    "another size": lambda s: Sample(s.image, s.mask[:-1], s.name),
    "empty": lambda s: Sample(s.image[:0], s.mask[:0], s.name),
    "0/255": lambda s: Sample(s.image, s.mask * 255, s.name),
    "more classes": lambda s: Sample(s.image, s.mask * 2, s.name),
}


@pytest.mark.parametrize("kind", BAD)
def test_samples_of_other_kinds_are_named(kind):
    samples = squares(3)
    check_samples(samples, 1)
    with pytest.raises(UserError, match="square1") as caught:
        check_samples([samples[0], BAD[kind](samples[1]), samples[2]], 1)
    assert "\n" not in str(caught.value)


# --- each picture is decoded once ---


@pytest.mark.parametrize("kind", ["folder", "csv"])
def test_every_picture_is_decoded_once_for_check_content_and_split(tmp_path, monkeypatch, kind):
    root, opened = make(tmp_path), []
    really = Image.open
    monkeypatch.setattr(Image, "open", lambda path, *a: opened.append(path) or really(path, *a))
    data = folder(root) if kind == "folder" else csv_table(write_table(root, rows()))
    splits = data.train, data.val, data.test
    digest = content(*splits)
    assert len(opened) == 20 and len([s for split in splits for s in split]) == 10
    assert len(opened) == 20
    monkeypatch.setattr(inspection.dataset, "KEEP", 0)
    again = folder(root)
    assert content(again.train, again.val, again.test) == digest
    assert len(opened) == 40
    assert content(*map(list, splits)) == digest


def test_one_process_of_several_looks_at_the_pictures(tmp_path, monkeypatch):
    root, told = str(make(tmp_path)), []
    first = open_data(root, once=lambda look: told.append(look()) or told[0])
    monkeypatch.setattr(Image, "open", None)
    other = open_data(root, once=lambda look: pickle.loads(pickle.dumps(told[0])))
    assert content(other.train, other.val) == content(first.train, first.val)
