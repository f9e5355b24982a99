"""What a mask is trained against.

logits `B C h w`, background is the logit 0; labels `B h w`, 0 is background, classes are 1..C, and
IGNORE marks pixels that no loss counts. Every loss is a scalar. `cross_entropy_dice` lets the
classes compete; `balanced_bce` and `structure` ask each class against all the rest, and take the
mean over classes. `matched_loss` is that of tokens that choose their class (MaskFormer; Conv-LoRA).
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from naslora_core.data.dataset import IGNORE
from naslora_core.errors import UserError, fault, known

CERTAIN = -30.0  # a logit whose sigmoid is 0 in float32
OVER = (0, 2, 3)  # the whole batch, class by class
CLASS, MASK, DICE = 10.0, 5.0, 5.0  # weights of the matched loss, of the released Conv-LoRA
CLASS_COST = 2.0  # of a class in the assignment, as Mask2Former has it; masks and Dice as above
NOTHING = 0.1  # weight of the class "nothing" (DETR)


def with_background(logits: Tensor) -> Tensor:
    """Class logits `B N h w` with the background's constant 0 before them: `B N+1 h w`."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)


def without_ignored(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (float32 or more) and labels whose ignored pixels are background beyond doubt, and
    the share of the other pixels: a sum gains nothing from an ignored pixel, and has no gradient
    there; a mean over all pixels, divided by the share, is the mean over the others."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    ignored = labels == IGNORE
    share = (~ignored).float().mean().clamp_min(1 / labels.numel())
    logits = logits.masked_fill(ignored[:, None], CERTAIN)
    return logits, labels.masked_fill(ignored, 0), share


def cross_entropy_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the foreground classes."""
    logits, labels, share = without_ignored(logits, labels)
    logits = with_background(logits)
    truth = _one_hot(labels, logits)
    dice = soft_dice(logits.softmax(1)[:, 1:], truth[:, 1:], OVER).mean()
    return F.cross_entropy(logits, labels.long()) / share + 1 - dice


def balanced_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in which object and background weigh alike (HED, Xie & Tu 2015).

    A pixel weighs the batch's share of the other side, counted for each class.
    """
    logits, labels, counted = without_ignored(logits, labels)
    m, truth = against_rest(logits, labels)
    share = truth.mean((0, 2, 3), keepdim=True) / counted  # 1 C 1 1, of the object
    weight = torch.where(truth > 0, 1 - share, share)
    return F.binary_cross_entropy_with_logits(m, truth, weight) / counted


def structure(logits: Tensor, labels: Tensor) -> Tensor:
    """Boundary-weighted cross-entropy plus weighted IoU (F3Net, Wei 2020), for each class of each
    image, then the mean; weights as `boundary_weight` has them.

    The window is 31 pixels at every size, as published for masks of some 350 pixels: it is a
    quarter of a mask of 128, so there "boundary" means most of a small object.
    """
    seen = (labels != IGNORE)[:, None]
    logits, labels, _ = without_ignored(logits, labels)
    m, truth = against_rest(logits, labels)
    weight = boundary_weight(truth) * seen
    cross = F.binary_cross_entropy_with_logits(m, truth, reduction="none")
    mean = (weight * cross).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-6)  # B C
    p = m.sigmoid()
    shared = (p * truth * weight).sum((2, 3))
    union = ((p + truth) * weight).sum((2, 3)) - shared
    iou = (shared + 1) / (union + 1)
    return (mean + (1 - iou)).mean()


def boundary_weight(truth: Tensor, window: int = 31, factor: float = 5.0) -> Tensor:
    """1 + factor * |mean of the window - truth|, for truth `B C h w` of 0 and 1 (floats); outside
    the image counts as background."""
    if window % 2 == 0 or window < 1:
        raise fault("The window", f"is {window} pixels", "an odd number", f"take {window + 1}")
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


def matched_loss(masks: Tensor, classes: Tensor, labels: Tensor) -> Tensor:
    """10 class + 5 BCE + 5 Dice over the cheapest matching.

    Every class that an image shows is one target mask. A matched token learns its class and mask,
    every other one "nothing". masks: `B N h w` logits; classes: `B N C+1` logits, the last
    "nothing"; labels: `B H W` in 0..C.
    """
    masks, classes = masks.float(), classes.float()
    ignored = (labels == IGNORE)[:, None]
    low = F.adaptive_max_pool2d(ignored.float(), masks.shape[-2:]) > 0  # low pixels that hold one
    masks, labels = masks.masked_fill(low, CERTAIN), labels.masked_fill(ignored[:, 0], 0)
    count = classes.shape[-1] - 1
    truth = F.one_hot(labels.long(), count + 1).movedim(-1, 1)[:, 1:].float()
    truth = F.interpolate(truth, masks.shape[-2:], mode="area")  # B C h w
    image, token, target = match(masks, classes, truth)
    wanted = torch.full(classes.shape[:2], count, device=masks.device)
    wanted[image, token] = target
    weight = torch.tensor([1.0] * count + [NOTHING], device=masks.device)
    chosen = CLASS * F.cross_entropy(classes.flatten(0, 1), wanted.flatten(), weight)
    found, wanted = masks[image, token], truth[image, target]  # M h w
    cross = F.binary_cross_entropy_with_logits(found, wanted, reduction="none").mean((1, 2))
    each = MASK * cross + DICE * (1 - soft_dice(found.sigmoid(), wanted, (1, 2)))
    nan_shows = 0 * masks.sum()  # where no token has a match, too
    return chosen + each.sum() / max(1, len(each)) + nan_shows


@torch.no_grad()
def match(masks: Tensor, classes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The cheapest pairs (Hungarian) of every image as (image, token, class), each `M`.

    masks `B N h w`, classes `B N C+1`, truth `B C h w`; a class without a pixel takes no token.
    All costs come to the CPU in one read.
    """
    m, t = masks.flatten(2), truth.flatten(2)
    p, shared = m.sigmoid(), torch.einsum("bnp,bcp->bnc", m.sigmoid(), t)
    # BCE(m, t) = softplus(m) - m t
    cross = F.softplus(m).mean(-1)[..., None] - torch.einsum("bnp,bcp->bnc", m, t) / m.shape[-1]
    dice = 1 - (2 * shared + 1) / (p.sum(-1)[..., None] + t.sum(-1)[:, None] + 1)
    cost = MASK * cross + DICE * dice - CLASS_COST * classes.softmax(-1)[..., :-1]  # B N C
    cost = cost.nan_to_num()  # the run reports a loss that is not finite
    read = torch.cat([cost, t.any(-1)[:, None].to(cost)], 1).cpu().numpy()
    found = []
    for image, one in enumerate(read):
        shown = np.flatnonzero(one[-1])
        token, column = linear_sum_assignment(one[:-1, shown])
        found.append([np.full_like(token, image), token, shown[column]])
    return tuple(torch.from_numpy(part).to(masks.device) for part in np.concatenate(found, 1))


DEFAULT = "cross_entropy_dice"
LOSSES = {f.__name__: f for f in (cross_entropy_dice, balanced_bce, structure)}


def named_loss(name: str, matched: bool = False) -> Callable[..., Tensor]:
    """The loss of that name, of a matched head its own; UserError with the choices for another."""
    known(name, LOSSES, "Unknown loss")
    if matched and name != DEFAULT:
        raise UserError(
            f"A matched head is trained by its matched loss, not by {name!r}; leave `loss` out, "
            "or adapt with head='plain'."
        )
    return matched_loss if matched else LOSSES[name]
