"""Scenes are functions of (seed, index); the evaluation set is hard for trivial answers."""

import numpy as np
import pytest

from naslora_workbook.research.base_table import scene_cases
from naslora_workbook.research.pretraining.scenes import KINDS, scene
from naslora_workbook.research.pretraining.scenes.painter import COUNT, SIDE, cut, library


def test_a_scene_depends_on_seed_and_index_alone():
    first, again, other = scene(3, 5), scene(3, 5), scene(3, 6)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("size", [64, 128, 160])
def test_shapes_types_and_visible_masks(size):
    for index in range(12):
        it = scene(11, index, size)
        assert it.image.shape == (size, size, 3) and it.image.dtype == np.uint8
        assert it.masks.dtype == bool and it.masks.shape[1:] == (size, size)
        assert it.masks.sum((1, 2)).min() >= round(0.002 * size * size)
        assert it.kind in KINDS


def test_wholes_contain_their_parts_and_other_masks_are_disjoint():
    nested = 0
    for index in range(60):
        masks = scene(7, index).masks
        for i in range(len(masks)):
            for j in range(i):
                shared = (masks[i] & masks[j]).sum()
                assert shared in (0, masks[i].sum(), masks[j].sum())
                nested += shared > 0
    assert nested > 5


def test_every_kind_is_drawn():
    assert {scene(5, i).kind for i in range(60)} == set(KINDS)


def test_texture_library_is_fixed_and_fills_its_range():
    assert library().shape == (COUNT, SIDE, SIDE)
    assert library().min() >= 0 and library().max() <= 1
    piece = cut(np.random.default_rng(0), 300)
    assert piece.shape == (300, 300)


def test_the_frozen_evaluation_scenes_are_the_ones_committed():
    """A change of the drawing code would change every past result: their brightness and areas."""
    cases = list(scene_cases(4))
    assert [image.mean() for image, _ in cases] == pytest.approx(
        [121.0, 115.1, 72.0, 123.7], abs=0.3
    )
    areas = [objects.sum((1, 2)) for _, objects in cases]
    wanted = [[51, 2561, 120], [2853, 781, 145], [311, 104, 591], [137, 2790, 537]]
    assert [len(a) for a in areas] == [len(a) for a in wanted]
    assert np.concatenate(areas) == pytest.approx(np.concatenate(wanted), rel=0.01, abs=2)
