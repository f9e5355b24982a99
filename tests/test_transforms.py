"""Batches keep masks exact, flips are a function of their key, and logits find the way home."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora_core.data.dataset import Sample
from naslora_core.data.transforms import (
    RESIZES,
    SAM_MEAN,
    filled,
    flips,
    resized,
    to_batch,
    to_native,
)
from naslora_core.errors import UserError

SIDES = st.integers(1, 70)
KEYS = st.tuples(st.integers(0, 9), st.integers(0, 10**6), st.integers(0, 10**4))
few = settings(max_examples=40, deadline=None)


def sample(height: int, width: int, seed: int = 0, classes: int = 3) -> Sample:
    rng = np.random.default_rng([seed, height, width])
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = rng.integers(0, classes + 1, (height, width), dtype=np.uint8)
    return Sample(image, mask, f"{height}x{width}")


@few
@given(SIDES, SIDES, st.integers(1, 48))
def test_a_batch_has_the_asked_shape_range_and_only_old_labels(height, width, size):
    one = sample(height, width)
    images, masks = to_batch([one, one], size)
    assert images.shape == (2, 3, size, size) and images.dtype == torch.float32
    assert masks.shape == (2, size, size) and masks.dtype == torch.uint8
    assert images.min() >= 0 and images.max() <= 255
    assert set(masks.unique().tolist()) <= set(np.unique(one.mask).tolist())


def test_at_its_own_size_a_sample_is_left_as_it_is():
    one = sample(32, 32)
    images, masks = to_batch([one], 32)
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), one.image)
    assert np.array_equal(masks[0].numpy(), one.mask)


def test_different_sizes_share_a_batch():
    images, masks = to_batch([sample(20, 50), sample(33, 7)], 16)
    assert images.shape == (2, 3, 16, 16) and masks.shape == (2, 16, 16)


@few
@given(st.lists(KEYS, min_size=1, max_size=4), SIDES)
def test_flips_are_exact_and_the_same_for_image_and_mask(keys, side):
    """The mask drawn into the image survives any flips in both alike."""
    plain = [sample(side, side, i) for i in range(len(keys))]
    marked = [Sample(np.repeat(s.mask[..., None], 3, 2), s.mask, s.name) for s in plain]
    images, masks = to_batch(marked, side, keys)
    assert torch.equal(images[:, 0], masks.float())
    for one, mask, key in zip(plain, masks, keys, strict=True):
        assert torch.equal(mask.flip(flips(key)), torch.from_numpy(one.mask))


@few
@given(st.lists(KEYS, min_size=2, max_size=5, unique=True), st.randoms())
def test_a_flip_depends_on_its_key_alone(keys, random):
    """In another order, or alone, as after a resumed run: the same pictures."""
    samples = {k: sample(9, 11, i) for i, k in enumerate(keys)}
    shuffled = random.sample(keys, len(keys))
    whole = dict(zip(keys, to_batch([samples[k] for k in keys], 8, keys)[0], strict=True))
    other = to_batch([samples[k] for k in shuffled], 8, shuffled)[0]
    assert all(torch.equal(whole[k], image) for k, image in zip(shuffled, other, strict=True))


def test_all_four_flips_occur_equally_often():
    seen = [tuple(flips((0, step, 1))) for step in range(800)]
    counts = [seen.count(axes) for axes in ((), (-1,), (-2,), (-1, -2))]
    assert sum(counts) == 800 and min(counts) > 150


def test_no_keys_no_flips():
    one = sample(8, 8)
    assert torch.equal(to_batch([one], 8)[1], to_batch([one], 8, [])[1])


def test_a_constant_image_stays_constant_under_antialiasing():
    one = Sample(np.full((50, 80, 3), 137, np.uint8), np.zeros((50, 80), np.uint8), "flat")
    torch.testing.assert_close(to_batch([one], 24)[0], torch.full((1, 3, 24, 24), 137.0))


def test_antialiasing_averages_where_skipping_would_alias():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = to_batch([Sample(stripes, stripes[..., 0], "stripes")], 16)[0]
    assert (small - 127.5).abs().max() < 12


@few
@given(SIDES, SIDES, st.integers(4, 64))
def test_longest_side_and_pad_fills_one_side_and_pads_with_nothing(height, width, size):
    image, mask = resized(sample(height, width), size)
    h, w = filled((height, width), size, "pad")
    assert max(h, w) == size and image.shape == (1, 3, size, size) and mask.shape[1:] == (size,) * 2
    padding = torch.cat([image[..., h:, :].flatten(2), image[..., :h, w:].flatten(2)], -1)
    assert torch.equal(padding, torch.tensor(SAM_MEAN)[None, :, None].expand_as(padding))
    assert not mask[:, h:].any() and not mask[..., w:].any()


@few
@given(SIDES, SIDES, KEYS)
def test_a_padded_image_flips_within_itself(height, width, key):
    """The padding stays at the right and bottom, where SAM has it."""
    one, (h, w) = sample(height, width), filled((height, width), 32, "pad")
    plain, flipped = (to_batch([one], 32, keys, resize="pad") for keys in (None, [key]))
    for before, after in zip(plain, flipped, strict=True):
        assert torch.equal(before[..., :h, :w].flip(flips(key)), after[..., :h, :w])
        outside = torch.ones(32, 32, dtype=torch.bool)
        outside[:h, :w] = False
        assert torch.equal(before[..., outside], after[..., outside])


def test_another_way_to_resize_is_told():
    with pytest.raises(UserError, match="resize is 'crop'; choose one of square, pad"):
        to_batch([sample(8, 8)], 8, resize="crop")


def test_longest_side_is_sams_own():
    transforms = pytest.importorskip("naslora_core.sam") and pytest.importorskip(
        "segment_anything.utils.transforms"
    )
    rng = np.random.default_rng(0)
    for h, w in rng.integers(1, 2000, (200, 2)):
        theirs = transforms.ResizeLongestSide.get_preprocess_shape(h, w, 1024)
        assert filled((h, w), 1024, "pad") == theirs


@few
@given(st.integers(2, 60), st.integers(2, 60), st.sampled_from(RESIZES))
def test_logits_return_at_the_samples_own_size(height, width, resize):
    back = to_native(torch.randn(2, 3, 32, 32), (height, width), resize)
    assert back.shape == (2, 3, height, width)


def test_masks_shrink_to_the_middle_pixel_and_logits_grow_between_pixel_centres():
    counted = np.arange(9, dtype=np.uint8)[None].repeat(9, 0)
    for mask, wanted in (
        (counted, [[1, 4, 7]] * 3),
        (counted.T, [[1] * 3, [4] * 3, [7] * 3]),
    ):
        grey = np.zeros((*mask.shape, 3), np.uint8)
        assert resized(Sample(grey, mask, "m"), 3, "square")[1].tolist() == [wanted]
    step = torch.tensor([[0.0, 1.0]]).expand(1, 1, 2, 2)
    assert to_native(step, (2, 4)).tolist() == [[[[0, 0.25, 0.75, 1]] * 2]]


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (64, 64), (17, 50)])
@pytest.mark.parametrize("resize", RESIZES)
def test_there_and_back_finds_the_object_again(shape, resize):
    """A disc, prepared at the model's size and brought back as logits, overlaps itself."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = (np.hypot(y - 0.45 * shape[0], x - 0.55 * shape[1]) < 0.3 * min(shape)).astype(np.uint8)
    one = Sample(np.repeat(disc[..., None], 3, 2), disc, "disc")
    mask = to_batch([one], 128, resize=resize)[1]
    back = to_native(mask[:, None].float() - 0.5, shape, resize)[0, 0].numpy() > 0
    assert (back & (disc > 0)).sum() / (back | (disc > 0)).sum() > 0.97
