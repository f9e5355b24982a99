"""What a mask is trained against: every loss takes the same two tensors and gives a scalar.

logits `B C h w`, background is the logit 0; labels `B h w`, 0 is background, classes are 1..C, and
IGNORE marks pixels that no loss counts.
`cross_entropy_dice` lets the classes compete; the others ask each class for itself, against all
the rest, and take the mean over classes. One class is no special case of either.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_core.data.dataset import IGNORE
from naslora_core.errors import UserError, known

CERTAIN = -30.0  # a logit whose sigmoid is 0 in float32
OVER = (0, 2, 3)  # the whole batch, class by class


def with_background(logits: Tensor) -> Tensor:
    """Class logits `B N h w` with the background's constant 0 before them: `B N+1 h w`."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)


def without_ignored(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits `B C h w` (float32 or more) and labels `B h w` whose ignored pixels are background
    beyond doubt, and the share of the other pixels: a sum gains nothing from an ignored pixel, and
    has no gradient there; a mean over all pixels, divided by the share, is the mean over the
    others."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    ignored = labels == IGNORE
    share = (~ignored).float().mean().clamp_min(1 / labels.numel())
    logits = logits.masked_fill(ignored[:, None], CERTAIN)
    return logits, labels.masked_fill(ignored, 0), share


def cross_entropy_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the foreground classes, a scalar.

    logits: `B N h w`, background is the logit 0; labels: `B h w` in 0..N. With N = 1 the first
    term is binary cross-entropy, for softmax over (0, m) is the sigmoid of m.
    """
    logits, labels, share = without_ignored(logits, labels)
    logits = with_background(logits)
    truth = _one_hot(labels, logits)
    dice = soft_dice(logits.softmax(1)[:, 1:], truth[:, 1:], OVER).mean()
    return F.cross_entropy(logits, labels.long()) / share + 1 - dice


def bce_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of each class against the rest, plus soft Dice: a scalar.

    logits `B C h w`, labels `B h w`. With one class it is `cross_entropy_dice`.
    """
    logits, labels, share = without_ignored(logits, labels)
    m, truth = against_rest(logits, labels)
    cross = F.binary_cross_entropy_with_logits(m, truth) / share
    return cross + 1 - soft_dice(m.sigmoid(), truth, OVER).mean()


def balanced_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in which object and background weigh alike (HED, Xie & Tu 2015), a scalar.

    logits `B C h w`, labels `B h w`. A pixel weighs the batch's share of the other side, counted
    for each class. So a batch that shows one side only has loss 0 and teaches nothing.
    """
    logits, labels, counted = without_ignored(logits, labels)
    m, truth = against_rest(logits, labels)
    share = truth.mean((0, 2, 3), keepdim=True) / counted  # 1 C 1 1, of the object
    weight = torch.where(truth > 0, 1 - share, share)
    return F.binary_cross_entropy_with_logits(m, truth, weight) / counted


def structure(logits: Tensor, labels: Tensor, window: int = 31, factor: float = 5.0) -> Tensor:
    """Boundary-weighted cross-entropy plus weighted IoU (F3Net, Wei 2020), a scalar.

    logits `B C h w`, labels `B h w`; each class of each image is judged alone, then the mean. A
    pixel weighs 1 + factor * |share of the class in the window around it - its own label|. The
    window is 31 pixels at every size, as published for masks of some 350 pixels: it is a quarter
    of a mask of 128, so there "boundary" means most of a small object. Outside the image counts
    as background, so an object that touches the border has a boundary there.
    """
    seen = (labels != IGNORE)[:, None]
    logits, labels, _ = without_ignored(logits, labels)
    m, truth = against_rest(logits, labels)
    weight = boundary_weight(truth, window, factor) * seen
    cross = F.binary_cross_entropy_with_logits(m, truth, reduction="none")
    return (_weighted_mean(cross, weight) + _weighted_iou(m, truth, weight)).mean()


def boundary_weight(truth: Tensor, window: int = 31, factor: float = 5.0) -> Tensor:
    """1 + factor * |mean of the window - truth|, for truth `B C h w` of 0 and 1 (floats)."""
    if window % 2 == 0 or window < 1:
        raise UserError(f"The window is {window} pixels; take an odd number, e.g. {window + 1}.")
    half = window // 2
    rows = F.avg_pool2d(truth, (1, window), 1, (0, half))  # outside counts as 0
    near = F.avg_pool2d(rows, (window, 1), 1, (half, 0))
    return 1 + factor * (near - truth).abs()


def against_rest(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logit of each class against all others together, and where it is true: both `B C h w`.

    The sigmoid of the first is the softmax over background and classes; one class keeps its logit.
    """
    every = with_background(logits)
    truth = _one_hot(labels, every)[:, 1:]
    if logits.shape[1] == 1:
        return logits, truth
    rest = [every[:, [j for j in range(every.shape[1]) if j != c]] for c in range(1, len(every[0]))]
    return logits - torch.stack([r.logsumexp(1) for r in rest], 1), truth


def _one_hot(labels: Tensor, like: Tensor) -> Tensor:
    return F.one_hot(labels.long(), like.shape[1]).movedim(-1, 1).to(like.dtype)


def soft_dice(p: Tensor, truth: Tensor, over: tuple[int, ...]) -> Tensor:
    """Soft Dice of probabilities and truth over some dimensions, 1 where both are empty."""
    return (2 * (p * truth).sum(over) + 1) / (p.sum(over) + truth.sum(over) + 1)


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean over the pixels of each mask, `B C`."""
    return (weight * values).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-6)


def _weighted_iou(m: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """1 - soft IoU with a weight a pixel, `B C`."""
    p = m.sigmoid()
    shared = (p * truth * weight).sum((2, 3))
    union = ((p + truth) * weight).sum((2, 3)) - shared
    return 1 - (shared + 1) / (union + 1)


Loss = Callable[[Tensor, Tensor], Tensor]
DEFAULT = "cross_entropy_dice"
LOSSES: dict[str, Loss] = {
    f.__name__: f for f in (cross_entropy_dice, bce_dice, balanced_bce, structure)
}


def named_loss(name: str, matched: bool = False) -> Callable[..., Tensor]:
    """The loss of that name; UserError with the choices for another.

    matched: the model's head has its own loss, `matched_loss`, so only the default may be named.
    """
    known(name, LOSSES, "Unknown loss")
    if matched and name != DEFAULT:
        raise UserError(
            f"A matched head is trained by its matched loss, not by {name!r}; leave `loss` out, "
            "or adapt with head='plain'."
        )
    if not matched:
        return LOSSES[name]
    from naslora_core.training.matching import matched_loss  # it imports this file

    return matched_loss
