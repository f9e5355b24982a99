"""Near-duplicates across splits: found after what befalls pictures on their way; no others are."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from naslora_core.data import folder
from naslora_core.data.splits import near_pairs, print_of
from naslora_workbook.lessons.domains import domain


def scene(index: int, size: int = 96) -> np.ndarray:
    return domain("leaf", train=20, size=size).train[index].image


def again(image: Image.Image, **how) -> Image.Image:
    memory = io.BytesIO()
    image.save(memory, "JPEG", **how)
    return Image.open(memory)


CHANGES = {
    "the same": lambda image: image,
    "jpeg": lambda image: again(image, quality=30),
    "half the size": lambda image: image.resize((48, 48), Image.Resampling.LANCZOS),
    "another shape": lambda image: image.resize((150, 110)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_picture_is_found_again(change):
    found = 0
    for i in range(8):
        image = scene(i)
        other = np.asarray(CHANGES[change](Image.fromarray(image)))
        prints = {"train": {"a": print_of(image)}, "test": {"b": print_of(other)}}
        found += len(near_pairs(prints))
    assert found >= 7


def test_other_pictures_are_not():
    images = [domain(name, train=12, size=96).train for name in ("polyp", "camouflage", "cropweed")]
    prints = {str(i): {s.name: print_of(s.image) for s in split} for i, split in enumerate(images)}
    prints |= {"other": {str(i): print_of(scene(i)) for i in range(12)}}
    assert near_pairs(prints) == []


@pytest.mark.parametrize("name", ["kvasir_polyp", "cwfid_cropweed"])
def test_photographs_are_told_apart_and_their_copies_found(real_data, name):
    """The threshold, on images of development domains."""
    train = folder(real_data / name).train
    images = {str(i): train[i].image for i in range(min(len(train), 150))}
    prints = {key: print_of(image) for key, image in images.items()}
    each = {key: {key: one} for key, one in prints.items()}  # every image a split of its own
    assert near_pairs(each) == []
    found = 0
    for change in CHANGES.values():
        copies = {k: np.asarray(change(Image.fromarray(images[k]))) for k in list(images)[:20]}
        found += sum(
            bool(near_pairs({"a": each[k], "b": {k: print_of(c)}})) for k, c in copies.items()
        )
    assert found >= 0.95 * 20 * len(CHANGES)


def test_only_pairs_across_splits_and_the_nearest_first():
    one, other = print_of(scene(0)), print_of(scene(1))
    darker = print_of((scene(1) * 0.8).astype(np.uint8))
    splits = {"train": {"a": one, "c": one, "b": other}, "val": {"d": darker}, "test": {"e": one}}
    pairs = near_pairs(splits)
    assert pairs == ["train/a ~ test/e", "train/c ~ test/e", "train/b ~ val/d"]


def test_a_plain_picture_has_a_print_too():
    black = np.zeros((20, 30, 3), np.uint8)
    assert np.isfinite(print_of(black)).all() and print_of(black).shape == (256,)
    assert near_pairs({"train": {"a": print_of(black)}, "val": {}, "test": {}}) == []
