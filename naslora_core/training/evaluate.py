"""Masks at native resolution, and their scores, image by image."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from naslora_core.data.transforms import filled, to_batch, to_native
from naslora_core.errors import UserError
from naslora_core.sam import SamPredictor
from naslora_core.training import metrics as overlap
from naslora_core.training.losses import with_background
from naslora_core.training.metrics import ber, dice, iou, mae
from naslora_core.training.prompts import box_of
from naslora_core.training.structure_metrics import e_measure, s_measure, weighted_f
from naslora_core.training.table import components

OF_MASKS = {"dice": dice, "iou": iou, "ber": ber}
OF_PROBABILITIES = {
    "mae": mae,
    "s_measure": s_measure,
    "weighted_f": weighted_f,
    "e_measure": e_measure,
}
METRICS = OF_MASKS | OF_PROBABILITIES
ALWAYS = ("dice", "iou")


@dataclass(frozen=True)
class Scores:
    """Dice and IoU of every image `n` (mean over its classes), with the masks that earned them.

    more: the further metrics that were asked for, each `n`; counts: `C+1 C+1` pixels of the whole
    set, a row a true class.
    """

    names: list[str]
    dice: np.ndarray
    iou: np.ndarray
    masks: list[np.ndarray] = field(repr=False)
    more: dict[str, np.ndarray] = field(default_factory=dict)
    counts: np.ndarray | None = field(default=None, repr=False)

    @property
    def mean(self) -> dict[str, float]:
        """Mean over images of the per-image scores."""
        each = {"dice": self.dice, "iou": self.iou} | self.more
        return {name: float(values.mean()) for name, values in each.items()}

    @property
    def overall(self) -> dict[str, float]:
        """Over all pixels of the set: Dice and IoU (mean of the foreground classes), and mIoU
        with the background as a class."""
        return {
            "dice": overlap.mean_present(overlap.global_dice(self.counts)[1:]),
            "iou": overlap.mean_iou(self.counts, background=False),
            "miou": overlap.mean_iou(self.counts),
        }

    @property
    def median_image(self) -> int:
        """Position of the image whose Dice is the median (the lower of two): the one to show."""
        return int(np.argsort(self.dice, kind="stable")[(len(self.dice) - 1) // 2])


def predict(model, samples: Sequence, batch: int = 16) -> list[np.ndarray]:
    """Prompt-free label maps `H W` uint8 of every sample, at its own size."""
    return [labels(logits) for logits in native_logits(model, samples, batch)]


@torch.no_grad()
def predict_one(model, sample, box=None, click=None) -> np.ndarray:
    """Label map `H W` uint8 of one sample at its own size, prompt-free or with a prompt.

    box: x0, y0, x1, y1 and click: x, y, in the sample's pixels (x to the right, y down).
    Raises UserError for a prompt that lies outside of the image.
    """
    image, _ = to_batch([sample], model.image_size, resize=model.resize)
    shape = sample.mask.shape
    boxes = _inside(box, shape, model) if box else None
    points = None
    if click:
        points = _inside(click, shape, model)[:, None], torch.ones(1, 1, dtype=torch.int)
    was_training = model.training
    logits = model.eval()(image, points=points, boxes=boxes).masks.float()
    model.train(was_training)
    return labels(with_background(to_native(logits, shape, model.resize))[0])


def _inside(xy: Sequence[float], shape: tuple[int, int], model) -> torch.Tensor:
    """Pixels of the image as pixels of the model's square, `1 2` or `1 4`."""
    (h, w), (high, wide) = shape, filled(shape, model.image_size, model.resize)
    place = torch.tensor(xy, dtype=torch.float32).view(-1, 2)
    if (place < 0).any() or (place[:, 0] > w).any() or (place[:, 1] > h).any():
        raise UserError(
            f"The prompt {' '.join(f'{v:g}' for v in xy)} lies outside of an image {w} wide and "
            f"{h} high; give x before y, in pixels from the upper left corner."
        )
    scale = torch.tensor([wide / w, high / h])
    return (place * scale).view(1, -1)


def labels(logits: torch.Tensor) -> np.ndarray:
    """Logits `N+1 H W`, background first, to a label map `H W` uint8."""
    return logits.argmax(0).to(torch.uint8).numpy()


@torch.no_grad()
def native_logits(model, samples: Sequence, batch: int = 16) -> Iterator[torch.Tensor]:
    """Prompt-free logits `N+1 H W` of one sample after another, at its own size.

    Background, the logit 0, comes first. Enlarged before anything is decided.
    """
    was_training = model.training
    for start in range(0, len(samples), batch):
        part = [samples[i] for i in range(start, min(start + batch, len(samples)))]
        images, _ = to_batch(part, model.image_size, resize=model.resize)
        model.eval()
        logits = model(images.to(next(model.parameters()).device)).masks.float().cpu()
        model.train(was_training)
        for one, sample in zip(logits, part, strict=True):
            yield with_background(to_native(one[None], sample.mask.shape, model.resize))[0]


def predict_boxed(sam, samples: Sequence) -> list[np.ndarray]:
    """What a user gets from the unadapted SAM: a tight box on every object, masks united."""
    predictor, found = SamPredictor(sam), []
    for sample in samples:
        predictor.set_image(sample.image)
        answer = np.zeros_like(sample.mask)
        for label in np.unique(sample.mask[sample.mask > 0]):
            for part in components(sample.mask == label):
                mask, _, _ = predictor.predict(box=box_of(part), multimask_output=False)
                answer[mask[0]] = label
        found.append(answer)
    return found


def evaluate(
    model,
    samples: Sequence,
    prompt: str | None = None,
    classes: int = 1,
    metrics: Sequence[str] = ALWAYS,
    batch: int = 16,
) -> Scores:
    """Scores of a Segmenter without a prompt, or of a Sam with prompt="box" on every object.

    metrics: names of METRICS, beside Dice and IoU, which always come; those of probabilities get
    the model's, and of a prompted Sam its masks; batch: images held at once. UserError for an
    unknown name.
    """
    _known(metrics)
    if prompt == "box":
        return score_masks(predict_boxed(model, samples), samples, classes, metrics)
    found = ((labels(x), x.softmax(0)[1:].numpy()) for x in native_logits(model, samples, batch))
    return _scores(found, samples, classes, metrics)


def score_masks(
    masks: Sequence[np.ndarray],
    samples: Sequence,
    classes: int = 1,
    metrics: Sequence[str] = ALWAYS,
) -> Scores:
    """Per-image scores of label maps against the samples' masks, averaged over classes.

    A metric of probabilities takes the masks as certain: 0 and 1.
    """
    _known(metrics)
    found = ((m, [m == c for c in range(1, classes + 1)]) for m in masks)
    return _scores(found, samples, classes, metrics)


def _known(metrics: Sequence[str]) -> None:
    unknown = [m for m in metrics if m not in METRICS]
    if unknown:
        raise UserError(f"Unknown metric {unknown[0]!r}; choose from {', '.join(METRICS)}.")


def _scores(found: Iterable, samples: Sequence, classes: int, metrics: Sequence[str]) -> Scores:
    """found: label map `H W` and probabilities `C H W` of one sample after another."""
    rows, masks, counts = [], [], 0
    for (mask, p), sample in zip(found, samples, strict=True):
        rows.append(_row(mask, p, sample.mask, classes, (*ALWAYS, *metrics)))
        masks.append(mask)
        counts = counts + overlap.confusion(mask, sample.mask, classes)
    each = {name: np.array([row[name] for row in rows]) for name in (*ALWAYS, *metrics)}
    basic = each.pop("dice"), each.pop("iou")
    return Scores([s.name for s in samples], *basic, masks, each, counts)


def _row(mask: np.ndarray, p, truth: np.ndarray, classes: int, metrics) -> dict[str, float]:
    """Every metric of one image, mean over its classes."""
    row = {}
    for name in metrics:
        if name in OF_MASKS:
            each = overlap.per_class(OF_MASKS[name], mask, truth, classes)
        else:
            each = [OF_PROBABILITIES[name](p[c - 1], truth == c) for c in range(1, classes + 1)]
        row[name] = float(np.mean(each))
    return row
