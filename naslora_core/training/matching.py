"""The loss of tokens that choose their class: match first, then judge (MaskFormer; Conv-LoRA).

Every class that an image shows is one target mask. Tokens and targets are matched by the cheapest
assignment (Hungarian); a matched token learns its class and mask, every other one "nothing". Costs
and weights are those of the released Conv-LoRA.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from naslora_core.data.dataset import IGNORE
from naslora_core.training.losses import CERTAIN, soft_dice

CLASS, MASK, DICE = 10.0, 5.0, 5.0  # weights of the loss
CLASS_COST = 2.0  # of a class in the assignment, as Mask2Former has it; masks and Dice as above
NOTHING = 0.1  # weight of the class "nothing" (DETR)


def matched_loss(masks: Tensor, classes: Tensor, labels: Tensor) -> Tensor:
    """10 class + 5 BCE + 5 Dice over the cheapest matching, a scalar.

    masks: `B N h w` logits; classes: `B N C+1` logits, the last "nothing"; labels: `B H W` in 0..C.
    """
    masks, classes = masks.float(), classes.float()
    masks, labels = _without_ignored(masks, labels)
    count = classes.shape[-1] - 1
    truth = F.one_hot(labels.long(), count + 1).movedim(-1, 1)[:, 1:].float()  # B C H W
    truth = F.interpolate(truth, masks.shape[-2:], mode="area")
    image, token, target = match(masks, classes, truth)
    wanted = torch.full(classes.shape[:2], count, device=masks.device)
    wanted[image, token] = target
    weight = torch.tensor([1.0] * count + [NOTHING], device=masks.device)
    chosen = CLASS * F.cross_entropy(classes.flatten(0, 1), wanted.flatten(), weight)
    found, wanted = masks[image, token], truth[image, target]  # M h w
    cross = F.binary_cross_entropy_with_logits(found, wanted, reduction="none").mean((1, 2))
    each = MASK * cross + DICE * (1 - soft_dice(found.sigmoid(), wanted, (1, 2)))
    mean = each.sum() / max(1, len(each))
    return chosen + mean + 0 * masks.sum()  # a NaN shows without a match, too


def _without_ignored(masks: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Ignored pixels, and those of the low masks that hold one, are background beyond doubt."""
    ignored = (labels == IGNORE)[:, None]
    low = F.adaptive_max_pool2d(ignored.float(), masks.shape[-2:]) > 0
    return masks.masked_fill(low, CERTAIN), labels.masked_fill(ignored[:, 0], 0)


@torch.no_grad()
def match(masks: Tensor, classes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The cheapest pairs of every image as (image, token, class), each `M`.

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
    found = [_cheapest(b, one[:-1], one[-1] > 0) for b, one in enumerate(read)]
    return tuple(torch.from_numpy(part).to(masks.device) for part in np.concatenate(found, 1))


def _cheapest(image: int, cost: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Rows image, token, class of one image's cheapest pairs, `3 M`."""
    token, column = linear_sum_assignment(cost[:, present])
    return np.stack([np.full_like(token, image), token, np.flatnonzero(present)[column]])
