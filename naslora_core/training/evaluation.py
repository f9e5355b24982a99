"""Scores of masks at each image's own size, image by image and over a whole set."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from naslora_core.data.dataset import IGNORE, check_sample, require_samples
from naslora_core.errors import UserError, fault, known, number
from naslora_core.training import metrics as overlap
from naslora_core.training.metrics import ber, dice, iou, mae
from naslora_core.training.prediction import label_maps, labels, native_logits, predict_boxed


class Metric(NamedTuple):
    """score: of a class in one image, by what was drawn and the boolean truth; of: "masks",
    "probabilities" (of the pixels that are not ignored), or "pictures" of probabilities `H W`,
    where an ignored pixel counts as background that was found."""

    score: Callable[[np.ndarray, np.ndarray], float]
    of: str


METRICS = {  # the workbook enters those of structure
    "dice": Metric(dice, "masks"),
    "iou": Metric(iou, "masks"),
    "ber": Metric(ber, "masks"),
    "mae": Metric(mae, "probabilities"),
}
ALWAYS = ("dice", "iou")


@dataclass(frozen=True)
class Scores:
    """Dice and IoU of every image `n`, with the masks that earned them.

    An image's score is the mean over the classes that occur in some true mask of the set, for of
    the others any image would be right. more: the further metrics that were asked for, each `n`;
    counts: `C+1 C+1` pixels of the whole set, a row a true class.
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
    def occurring(self) -> list[int]:
        """The classes that the set's true masks hold, 1..C."""
        return (np.flatnonzero(self.counts.sum(1)[1:]) + 1).tolist()

    @property
    def median_image(self) -> int:
        """Position of the image whose Dice is the median (the lower of two): the one to show."""
        return int(np.argsort(self.dice, kind="stable")[(len(self.dice) - 1) // 2])


def evaluate(
    model,
    samples: Sequence,
    prompt: str | None = None,
    classes: int | None = None,
    metrics: Sequence[str] = ALWAYS,
    batch: int = 16,
    keep_masks: bool = True,
) -> Scores:
    """Scores of a Segmenter without a prompt, or of a Sam with prompt="box" on every object.

    classes: how many are scored, 1..C; what lies above is background. None: those that the model
    draws, with a box those that the true masks hold. metrics: names of METRICS, beside Dice and
    IoU, which always come; those of probabilities get the model's, and of a prompted Sam its
    masks. batch: images held at once. keep_masks: in `Scores.masks`, which else stays empty.
    UserError for an unknown name, and where no number of classes is given and the masks hold more
    than the model draws.
    """
    require_samples(samples, 1)
    known(prompt, (None, "box"), "prompt is")
    number("classes", 1 if classes is None else classes)
    if prompt == "box":
        return score_masks(predict_boxed(model, samples), samples, classes, metrics)
    names, classes = _names(metrics), classes or _drawn(model, samples)
    if all(METRICS[name].of == "masks" for name in names):
        found = ((mask, None) for mask in label_maps(model, samples, batch))
    else:
        logits = native_logits(model, samples, batch)
        found = ((labels(x), x.softmax(0)[1:].numpy()) for x in logits)
    return _scores(found, samples, classes, names, keep_masks)


def score_masks(
    masks: Sequence[np.ndarray],
    samples: Sequence,
    classes: int | None = None,
    metrics: Sequence[str] = ALWAYS,
) -> Scores:
    """Per-image scores of label maps against the samples' masks, averaged over classes.

    classes: how many are scored; None: those that the true masks hold. A metric of probabilities
    takes the masks as certain: 0 and 1.
    """
    require_samples(samples, 1)
    require_samples(masks, len(samples))
    classes = classes or _held(samples)
    found = ((m, [m == c for c in range(1, classes + 1)]) for m in masks)
    return _scores(found, samples, classes, _names(metrics))


def _names(metrics: Sequence[str]) -> list[str]:
    """Dice, IoU and the further metrics, each once; UserError for an unknown name."""
    return list(dict.fromkeys([*ALWAYS, *(known(m, METRICS, "Unknown metric") for m in metrics)]))


def _held(samples: Sequence) -> int:
    """The highest number in the true masks, at least 1; UserError for what is no sample."""
    found = 1
    for sample in samples:
        check_sample(sample)
        found = max(found, int(sample.mask.max(initial=0, where=sample.mask != IGNORE)))
    return found


def _drawn(model, samples: Sequence) -> int:
    """How many classes a model draws; UserError where the true masks hold more."""
    drawn = getattr(getattr(model, "head", None) or model, "classes", 1)
    if (held := _held(samples)) > drawn:
        raise UserError(
            f"The masks hold classes up to {held}, the model draws {drawn}; give classes={held}, "
            f"or classes={drawn} to take what lies above as background."
        )
    return drawn


def _scores(
    found: Iterable, samples: Sequence, classes: int, names: Sequence[str], keep: bool = True
) -> Scores:
    """found: label map `H W` and probabilities `C H W` of one sample after another."""
    every = range(1, classes + 1)
    rows, masks, counts = [], [], np.zeros((classes + 1, classes + 1), np.int64)
    for (mask, p), sample in zip(found, samples, strict=True):
        if np.shape(mask) != sample.mask.shape:
            given, expected = f"has shape {np.shape(mask)}", f"{sample.mask.shape}, its image's"
            raise fault(f"A mask for {sample.name}", given, expected, "give masks of images' sizes")
        seen = sample.mask != IGNORE
        for metric in map(METRICS.get, names):
            drawn = (mask == c if metric.of == "masks" else np.asarray(p[c - 1]) for c in every)
            pairs = zip(drawn, (sample.mask == c for c in every), strict=True)
            rows.append([_score(metric, d, truth, seen) for d, truth in pairs])
        masks += [mask] * keep
        counts += overlap.confusion(mask[seen], sample.mask[seen], classes)
    values = np.array(rows).reshape(-1, len(names), classes)  # image, metric, class
    present = np.flatnonzero(counts.sum(1)[1:])
    means = values[..., present if len(present) else slice(None)].mean(2)
    each = dict(zip(names, means.T, strict=True))
    basic = each.pop("dice"), each.pop("iou")
    return Scores([s.name for s in samples], *basic, masks, each, counts)


def _score(metric: Metric, drawn: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> float:
    if metric.of == "pictures":
        return metric.score(np.where(seen, drawn, 0), truth)
    return metric.score(drawn[seen], truth[seen])
