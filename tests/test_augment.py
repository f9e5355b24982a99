"""Stronger augmentation keeps masks exact and aligned, and is a function of its key."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora_core.data.dataset import Sample
from naslora_core.data.transforms import crop, recolour, to_batch
from naslora_core.errors import UserError

KEYS = st.tuples(st.integers(0, 9), st.integers(0, 10**6), st.integers(0, 10**4))
few = settings(max_examples=30, deadline=None)


def marked(height: int, width: int, classes: int = 3, seed: int = 0) -> Sample:
    """A sample whose image shows its mask in greys."""
    mask = np.random.default_rng([seed, height, width]).integers(0, classes + 1, (height, width))
    image = np.repeat((60 + 40 * mask)[..., None], 3, 2).astype(np.uint8)
    return Sample(image, mask.astype(np.uint8), "marked")


@few
@given(st.integers(1, 60), st.integers(1, 60), KEYS)
def test_the_mask_stays_under_the_image_and_has_only_old_values(height, width, key):
    one = marked(height, width)
    other = crop(one, key)
    assert other.mask.shape == other.image.shape[:2] and other.mask.dtype == np.uint8
    assert set(np.unique(other.mask)) <= set(np.unique(one.mask))
    greys = [np.unique(other.image[other.mask == label]) for label in np.unique(other.mask)]
    assert all(len(grey) == 1 for grey in greys) and len(np.unique(greys)) == len(greys)
    assert 0.35 < other.mask.size / one.mask.size <= 1  # sides are rounded


@few
@given(KEYS)
def test_a_crop_is_a_window_of_the_mask(key):
    one = Sample(np.zeros((30, 40, 3), np.uint8), np.arange(1200).reshape(30, 40) % 251, "counted")
    other = crop(one, key).mask.astype(int)
    windows = [np.rot90(other, -turns) for turns in range(4)]
    steps = [(np.diff(w, axis=1) % 251 == 1).all() for w in windows]  # along a row they count on
    assert steps.count(True) == 1


def test_it_is_a_function_of_the_key_and_leaves_the_generators_alone():
    one = marked(32, 48)
    state = torch.get_rng_state()
    first, again, other = crop(one, (1, 2, 3)), crop(one, (1, 2, 3)), crop(one, (1, 2, 4))
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert first.image.shape != other.image.shape or (first.image != other.image).any()
    assert np.array_equal(one.image, marked(32, 48).image)


def test_colours_are_a_function_of_the_key_and_stay_near_the_samples_own():
    grey = torch.full((3, 8, 8), 128.0)
    red = torch.tensor([160.0, 90.0, 90.0])[:, None, None].expand(3, 8, 8)
    for one in (grey, red):
        seen = torch.stack([recolour(one, (0, 0, i))[:, 0, 0] for i in range(32)])
        assert len(seen.unique(dim=0)) > 20
        assert 10 < (seen - one[:, 0, 0]).abs().max() < 80
        assert torch.equal(recolour(one, (0, 0, 3))[:, 0, 0], seen[3])


@pytest.mark.parametrize("resize", ["square", "pad"])
def test_colours_change_after_the_resize_and_leave_the_padding(monkeypatch, resize):
    shapes = []

    def noted(image, key):
        shapes.append(tuple(image.shape))
        return image + 1

    monkeypatch.setattr("naslora_core.data.transforms.recolour", noted)
    images, _ = to_batch([marked(40, 80)], 24, [(0, 0, 1)], "full", resize)
    (_, high, wide) = shapes[0]
    assert max(high, wide) == 24 and (high, wide) != (40, 80)
    if (high, wide) != (24, 24):
        mean = torch.tensor([123.675, 116.28, 103.53])
        assert torch.equal(images[0, :, -1, -1], mean)


def test_all_turns_and_many_sizes_are_drawn():
    one = Sample(np.zeros((64, 64, 3), np.uint8), np.tri(64, dtype=np.uint8), "triangle")
    seen = [crop(one, (0, 0, i)).mask for i in range(64)]
    corners = {tuple(bool(m[y, x]) for y in (0, -1) for x in (0, -1)) for m in seen}
    assert len({m.shape for m in seen}) > 20 and len(corners) >= 4


def test_a_picture_one_pixel_wide_is_turned_too():
    for key in range(8):
        images, masks = to_batch([marked(50, 1)], 64, [(0, 0, key)], "full")
        assert images.shape == (1, 3, 64, 64) and masks.shape == (1, 64, 64)


def test_batches_take_it_as_a_word_and_flips_stay_the_default():
    samples, keys = [marked(30, 50, seed=i) for i in range(4)], [(0, 1, i) for i in range(4)]
    images, masks = to_batch(samples, 24, keys, augment="full")
    assert images.shape == (4, 3, 24, 24) and masks.max() <= 3
    assert not torch.equal(images, to_batch(samples, 24, keys)[0])
    assert torch.equal(to_batch(samples, 24, keys)[0], to_batch(samples, 24, keys, "flips")[0])
    assert torch.equal(to_batch(samples, 24, augment="full")[0], to_batch(samples, 24)[0])
    with pytest.raises(UserError, match="augment is 'all'; choose one of flips, full"):
        to_batch(samples, 24, keys, "all")
