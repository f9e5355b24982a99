"""What a mask is trained against."""

import torch
import torch.nn.functional as F
from torch import Tensor


def with_background(logits: Tensor) -> Tensor:
    """Class logits `B N h w` with the background's constant 0 before them: `B N+1 h w`."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)


def cross_entropy_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the foreground classes, a scalar.

    logits: `B N h w`, background is the logit 0; labels: `B h w` in 0..N. With N = 1 the first
    term is binary cross-entropy, for softmax over (0, m) is the sigmoid of m.
    """
    logits = with_background(logits.float())
    truth = F.one_hot(labels.long(), logits.shape[1]).movedim(-1, 1).float()
    p, over = logits.softmax(1)[:, 1:], (0, 2, 3)
    shared = 2 * (p * truth[:, 1:]).sum(over) + 1
    dice = shared / (p.sum(over) + truth[:, 1:].sum(over) + 1)
    return F.cross_entropy(logits, labels.long()) + (1 - dice).mean()
