"""The smallest thing that segments: every token of a frozen embedding answers for itself.

A run takes a fraction of a second, so that many seeds can be had where one is an anecdote.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.training.metrics import dice

LR, HIDDEN, BATCH = 5e-3, 16, 8


def token_head_dice(loss: Callable, train, test, seed: int, steps: int = 60) -> float:
    """Mean test Dice of two 1 x 1 convolutions trained with `loss`; the seed starts and draws.

    train, test: embeddings `B C h w` and labels `B S S`, of which class 1 is learned.
    """
    g = torch.Generator().manual_seed(seed)
    embeddings, truth = train[0], (train[1] == 1)[:, None].float()
    side = 4 * embeddings.shape[-1]  # as SAM's decoder draws
    labels = F.interpolate(truth, (side, side), mode="nearest-exact")[:, 0]
    head = _head(embeddings.shape[1], g)
    optimiser = torch.optim.AdamW(head.parameters(), LR)
    for _ in range(steps):
        pick = torch.randint(len(embeddings), (BATCH,), generator=g)
        optimiser.zero_grad()
        loss(_drawn(head, embeddings[pick], labels.shape[1:]), labels[pick]).backward()
        optimiser.step()
    with torch.no_grad():
        masks = _drawn(head, test[0], test[1].shape[1:])[:, 0] > 0
    pairs = zip(masks.numpy(), (test[1] == 1).numpy(), strict=True)
    return sum(dice(*pair) for pair in pairs) / len(masks)


def _head(width: int, g: torch.Generator) -> nn.Module:
    head = nn.Sequential(nn.Conv2d(width, HIDDEN, 1), nn.GELU(), nn.Conv2d(HIDDEN, 1, 1))
    for p in head.parameters():
        nn.init.uniform_(p, -(width**-0.5), width**-0.5, generator=g)
    return head


def _drawn(head: nn.Module, embeddings: Tensor, size) -> Tensor:
    return F.interpolate(head(embeddings), size, mode="bilinear", align_corners=False)
