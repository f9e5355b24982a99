"""Tiles: drawn to train at the image's own scale, blended to predict, kept in the file."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora_core.adapters import DecoderOnly, adapt, fold, load_adapter, save_adapter
from naslora_core.data import Sample
from naslora_core.data.tiles import MEAN, checked_side, draw_tile, piece, shares, starts
from naslora_core.data.transforms import to_batch
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter, load_sam
from naslora_core.training import ceilings
from naslora_core.training.evaluation import evaluate
from naslora_core.training.prediction import native_logits, predict, predict_image, strips


def scene(high=200, wide=300, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (high, wide, 3), np.uint8)
    mask = np.zeros((high, wide), np.uint8)
    mask[high // 2 : high // 2 + 6, wide // 3 : wide // 3 + 9] = 1
    return Sample(image, mask, "scene")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 900), st.integers(16, 200))
def test_tiles_cover_every_pixel_and_their_shares_sum_to_one(length, side):
    begin, table = starts(length, side), shares(length, side)
    assert begin[0] == 0 and (length <= side or begin[-1] == length - side)
    assert all(b - a <= side * 0.75 + 1 for a, b in zip(begin, begin[1:], strict=False))
    assert np.allclose(table.sum(0), 1, atol=1e-5) and (table >= 0).all()


def test_shares_change_smoothly_where_tiles_meet():
    table = shares(500, 128)
    assert np.abs(np.diff(table, axis=1)).max() < 0.06


def test_a_tile_is_drawn_by_its_key_alone_at_the_images_own_scale():
    sample = scene()
    first, again, other = (draw_tile(sample, 64, key) for key in ((0, 1), (0, 1), (0, 2)))
    assert np.array_equal(first.image, again.image) and not np.array_equal(first.image, other.image)
    windows = np.lib.stride_tricks.sliding_window_view(sample.image, (64, 64, 3))[:, :, 0]
    found = (windows[..., :4, :4, :] == first.image[:4, :4]).all((2, 3, 4))
    top, left = np.argwhere(found)[0]
    assert np.array_equal(first.mask, sample.mask[top : top + 64, left : left + 64])


@pytest.mark.parametrize("objects", [0.0, 0.5, 1.0])
def test_the_chosen_share_of_tiles_holds_an_object(objects):
    sample = scene(800, 800)
    held = np.mean([draw_tile(sample, 64, (7, i), objects).mask.any() for i in range(300)])
    by_chance = (64 + 6) * (64 + 9) / 737**2
    assert abs(held - (objects + (1 - objects) * by_chance)) < 0.07


def test_objects_are_drawn_whatever_their_class_and_ignored_pixels_are_none():
    sample = scene(400, 400)
    sample.mask[:100, :100], sample.mask[390:, 390:] = 255, 2
    tiles = [draw_tile(sample, 32, (1, i), 1.0).mask for i in range(80)]
    assert all(np.isin(t, (1, 2)).any() for t in tiles)
    assert 20 < sum((t == 2).any() for t in tiles) < 60  # 100 pixels of 154, half of the tiles


def test_an_image_smaller_than_a_tile_is_padded_not_stretched():
    sample = scene(40, 50)
    tile = draw_tile(sample, 64, (0,))
    assert np.array_equal(tile.image[:40, :50], sample.image) and not tile.mask[40:].any()
    assert (tile.image[40:] == MEAN).all() and tile.image.shape == (64, 64, 3)
    assert np.array_equal(piece(sample.image, 0, 0, 40), sample.image[:, :40])


def test_a_batch_of_tiles_is_a_function_of_its_keys():
    keys = [(3, 5, 0), (3, 5, 1)]
    both = to_batch([scene(), scene(seed=1)], 64, keys, tile=(64, 0.5))
    last = to_batch([scene(seed=1)], 64, keys[1:], tile=(64, 0.5))
    assert torch.equal(both[0][1:], last[0]) and torch.equal(both[1][1:], last[1])


@pytest.mark.parametrize("side", [0, -3, 2.5, "128", True, 15])
def test_a_side_that_is_none_is_refused(side):
    with pytest.raises(UserError, match="tile="):
        checked_side(side)


class Local(torch.nn.Module):
    """A stand-in whose logit is the red of each pixel, less 100; its input is 64 pixels."""

    image_size, resize, tile, head, classes = 64, "square", 64, None, 1

    def __init__(self):
        super().__init__()
        self.p = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        return type("Output", (), {"masks": images[:, :1] - 100})


@pytest.mark.parametrize("shape", [(200, 300), (64, 64), (30, 200), (65, 40), (20, 20)])
@pytest.mark.parametrize("batch", [1, 7])
def test_blending_equals_the_whole_where_the_model_looks_at_pixels_alone(shape, batch):
    sample, model = scene(*shape), Local()
    logits = next(native_logits(model, [sample], batch))
    assert torch.allclose(
        logits[1], torch.from_numpy(sample.image[..., 0]).float() - 100, atol=1e-3
    )
    assert max(model.seen) <= batch and not logits[0].any()
    assert np.array_equal(predict(model, [sample])[0], sample.image[..., 0] > 100)


def test_strips_hold_one_row_of_tiles_whatever_the_height():
    model, high = Local(), 640
    found = list(strips(model, scene(high, 100).image))
    assert sum(s.shape[1] for s in found) == high and max(s.shape[1] for s in found) <= 64


def test_scaled_tiles_are_resized_both_ways():
    model = Local()
    model.tile = 128  # half scale
    flat = np.full((300, 200, 3), 130, np.uint8)
    assert torch.allclose(next(native_logits(model, [Sample(flat, flat[..., 0], "x")]))[1],
                          torch.tensor(30.0), atol=1e-3)  # fmt: skip


def test_tile_and_class_names_are_kept_by_adapters_and_folded_models(tmp_path):
    sam = load_sam()
    model = adapt(sam, DecoderOnly(), 2, tile=96)
    model.class_names = ("crop", "Unkraut \u00e4")
    loaded = load_adapter(sam, save_adapter(model, tmp_path / "a.safetensors"))
    folded = fold(loaded)
    for found in (loaded, folded.model):
        assert (found.tile, found.class_names) == (96, ("crop", "Unkraut \u00e4"))
    assert ceilings.grid_of(loaded) == (64, 128, "square", 96)


def test_a_model_of_tiles_takes_no_prompt():
    model = Segmenter(load_sam())
    model.tile = 128
    with pytest.raises(UserError, match="tiles of 128 pixels"):
        predict_image(model, scene(300, 400).image, click=(50, 10))


def test_the_ceiling_of_tiles_is_that_of_their_blended_grids():
    grid = ceilings.Grid(16, 128, "square", 96)
    A, B = ceilings.enlarging(grid, 0, 200), ceilings.enlarging(grid, 0, 250)
    low = torch.randn(A.shape[1], B.shape[1], generator=torch.Generator().manual_seed(0))
    drawn, tiles = (A @ low @ B.T), torch.zeros(200, 250)
    down, across = shares(200, 96), shares(250, 96)
    for i, top in enumerate(starts(200, 96)):
        for j, left in enumerate(starts(250, 96)):
            part = low[None, None, 16 * i : 16 * i + 16, 16 * j : 16 * j + 16]
            for size in (128, 96):
                part = F.interpolate(part, (size, size), mode="bilinear", align_corners=False)
            h, w = min(96, 200 - top), min(96, 250 - left)
            share = down[i, top : top + h, None] * across[j, left : left + w]
            tiles[top : top + h, left : left + w] += part[0, 0, :h, :w] * torch.from_numpy(share)
    assert torch.allclose(drawn, tiles, atol=1e-4)
    assert ceilings.ceiling((drawn > 0).numpy(), grid) >= 0.98


def test_thin_lines_have_a_higher_ceiling_in_tiles_than_squeezed():
    mask = np.zeros((500, 500), bool)
    mask[np.arange(500), np.arange(500)] = mask[:, 77] = mask[300] = True
    whole, cut = ceilings.Grid(32, 64), ceilings.Grid(32, 64, "square", 64)
    assert ceilings.ceiling(mask, cut) > ceilings.ceiling(mask, whole) + 0.1


def test_evaluation_scores_tiles_with_and_without_probabilities():
    model, sample = Local(), scene(130, 90)
    sample = Sample(sample.image, (sample.image[..., 0] > 100).astype(np.uint8), "x")
    assert evaluate(model, [sample]).mean["dice"] == 1
    assert evaluate(model, [sample], metrics=("mae",)).mean["mae"] < 0.01
