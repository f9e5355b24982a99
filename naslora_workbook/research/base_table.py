"""What a SAM reaches on scenes with one box and one click, beside the trivial answers.

The trivial answers are strong, so they stand in every row: the ellipse inscribed in the box, and
the best disc of one constant radius around the click (that radius chosen on the same objects).
"ceiling" is the IoU that the true mask keeps once it is shrunk to the decoder's size and enlarged
again (`shrunk_iou`); the records were made under that name.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from naslora_core.sam import SamPredictor
from naslora_core.training.ceilings import mask_side, shrunk_iou
from naslora_core.training.metrics import iou
from naslora_core.training.prompts import box_of, centre_click
from naslora_workbook.research.pretraining.scenes import scene

SCENE_SEED, SCENE_COUNT, PER_SCENE = 777_001, 500, 3  # never trained on
RADII = np.geomspace(0.01, 0.6, 40)  # of the disc, in shares of the image's longer side
Case = tuple[np.ndarray, np.ndarray]  # an image `H W 3` uint8, the objects in it `N H W` bool


def scene_cases(
    count: int = SCENE_COUNT, seed: int = SCENE_SEED, size: int = 128
) -> Iterator[Case]:
    """The frozen evaluation scenes, up to PER_SCENE objects of each, drawn by (seed, index)."""
    for index in range(count):
        it, rng = scene(seed, index, size), np.random.default_rng([seed, index, 9999])
        chosen = rng.permutation(len(it.masks))[:PER_SCENE]
        yield it.image, it.masks[chosen]


def ellipse(mask: np.ndarray) -> np.ndarray:
    """The ellipse inscribed in a mask's tight box."""
    x0, y0, x1, y1 = box_of(mask)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    centre, half = ((y0 + y1) / 2, (x0 + x1) / 2), ((y1 - y0 + 1) / 2, (x1 - x0 + 1) / 2)
    return ((y - centre[0]) / half[0]) ** 2 + ((x - centre[1]) / half[1]) ** 2 <= 1


def discs(mask: np.ndarray) -> np.ndarray:
    """IoU `R` of the discs of all RADII around the click."""
    cx, cy = centre_click(mask)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    distance = np.hypot(y - cy, x - cx)
    inside = np.sort(distance[mask]).searchsorted(RADII * max(mask.shape), "right")
    disc = np.sort(distance.ravel()).searchsorted(RADII * max(mask.shape), "right")
    return inside / (disc + mask.sum() - inside)


def score(sam, cases: Iterable[Case]) -> dict[str, float]:
    """The table's row: mean IoU over objects at native resolution, by `SamPredictor` itself."""
    predictor, side = SamPredictor(sam), mask_side(sam)
    rows, radii = [], []
    for image, objects in cases:
        predictor.set_image(image)
        for mask in objects:
            rows.append(_score_object(predictor, mask, side))
            radii.append(discs(mask))
    mean = {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}
    return {"objects": len(rows), **mean, "disc": float(np.mean(radii, 0).max())}


def _score_object(predictor: SamPredictor, mask: np.ndarray, side: int) -> dict[str, float]:
    boxed, _, _ = predictor.predict(box=box_of(mask), multimask_output=False)
    click = {"point_coords": centre_click(mask)[None], "point_labels": np.ones(1)}
    clicked, confidence, _ = predictor.predict(**click, multimask_output=True)
    ious = [iou(m, mask) for m in clicked]
    return {
        "box": iou(boxed[0], mask),
        "ellipse": iou(ellipse(mask), mask),
        "click": ious[int(confidence.argmax())],
        "click_best_of_3": max(ious),
        "ceiling": shrunk_iou(mask, side),
    }
