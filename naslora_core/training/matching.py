"""The loss of tokens that choose their class: match first, then judge (MaskFormer; Conv-LoRA).

Every class that an image shows is one target mask. Tokens and targets are matched by the cheapest
assignment (Hungarian); a matched token learns its class and mask, every other one "nothing".
"""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

CLASS, MASK, DICE = 10.0, 5.0, 5.0  # weights of Conv-LoRA
NOTHING = 0.1  # weight of the class "nothing" (DETR)


def matched_loss(masks: Tensor, classes: Tensor, labels: Tensor) -> Tensor:
    """10 class + 5 BCE + 5 dice over the cheapest matching, a scalar.

    masks: `B N h w` logits; classes: `B N C+1` logits, the last "nothing"; labels: `B H W` in 0..C.
    """
    masks, classes = masks.float(), classes.float()
    count = classes.shape[-1] - 1
    shares = F.one_hot(labels.long(), count + 1).movedim(-1, 1)[:, 1:].float()  # B C H W
    shares = F.interpolate(shares, masks.shape[-2:], mode="area")
    wanted = torch.full(classes.shape[:2], count, device=masks.device)
    drawn = masks.sum() * 0
    for b, (mask, truth) in enumerate(zip(masks, shares, strict=True)):
        present = truth.flatten(1).any(1).nonzero()[:, 0]
        tokens, targets = match(mask, classes[b], truth[present], present)
        wanted[b, tokens] = present[targets]
        pairs = mask[tokens], truth[present][targets]
        drawn = drawn + (MASK * _cross(*pairs) + DICE * _dice(*pairs)).sum() / max(1, len(tokens))
    weight = torch.tensor([1.0] * count + [NOTHING], device=masks.device)
    return CLASS * F.cross_entropy(classes.flatten(0, 1), wanted.flatten(), weight) + (
        drawn / len(masks)
    )


@torch.no_grad()
def match(mask: Tensor, classes: Tensor, truth: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """The cheapest pairs (token, target) of one image: masks `N h w`, classes `N C+1`, `T h w`."""
    cost = -CLASS * classes.softmax(-1)[:, present]  # N T
    every = mask[:, None], truth[None]
    cost = cost + MASK * _cross(*every) + DICE * _dice(*every)
    cost = cost.nan_to_num()  # a loss that is not finite is told by whoever trains
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(rows).to(mask.device), torch.as_tensor(columns).to(mask.device)


def _cross(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean binary cross-entropy over the last two dimensions, broadcast over the others."""
    # BCE(m, t) = softplus(m) - m t
    return (F.softplus(logits) - logits * truth).mean((-2, -1))


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    p = logits.sigmoid()
    shared = 2 * (p * truth).sum((-2, -1)) + 1
    return 1 - shared / (p.sum((-2, -1)) + truth.sum((-2, -1)) + 1)
