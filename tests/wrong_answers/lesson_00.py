"""Wrong answers of lesson 00."""

from scipy import ndimage

from wrong_answers import Wrong


def iou_for_dice(prediction, truth):
    either = (prediction | truth).sum()
    return (prediction & truth).sum() / either if either else 1.0


def without_the_empty_case(prediction, truth):
    return 2 * int((prediction & truth).sum()) / int(prediction.sum() + truth.sum())


def zero_for_two_empty_masks(prediction, truth):
    total = prediction.sum() + truth.sum()
    return 2 * (prediction & truth).sum() / total if total else 0.0


def without_the_two(prediction, truth):
    total = prediction.sum() + truth.sum()
    return (prediction & truth).sum() / total if total else 1.0


def rim_in_place(truth):
    truth[ndimage.binary_erosion(truth)] = False
    return truth


def outer_rim(truth):
    return ndimage.binary_dilation(truth) & ~truth


WRONG = [
    Wrong("0.1", "IoU instead of Dice", "IoU", (iou_for_dice,)),
    Wrong("0.1", "two empty masks divide by zero", "ZeroDivision", (without_the_empty_case,)),
    Wrong("0.1", "two empty masks score 0", "empty", (zero_for_two_empty_masks,)),
    Wrong("0.1", "the factor 2 is missing", "[Hh]alf|[Tt]wice", (without_the_two,)),
    Wrong("0.2", "erases in place", "argument", (rim_in_place,)),
    Wrong("0.2", "the rim outside of the mask", "outside", (outer_rim,)),
]
