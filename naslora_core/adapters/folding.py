"""Fold an adapter into its base, exactly, as far as algebra allows.

y = W0 x + s Wd (K * We x).  The centre tap acts token by token, so  W0 += s Wd K[c, c] We . What is
left of K, if anything, stays a small side branch; where nothing is left the block is a plain
Linear again, and when every block is, the encoder is a vanilla SAM checkpoint.

Every layer folds itself: `layer.fold(block, name)` returns what takes its place and rows of the
report. One that cannot says so in `why_unfoldable`.
"""

import copy

import torch
from torch import nn

from naslora_core.adapters.adaptation import Adapted, adapted, head_name
from naslora_core.adapters.folded_checkpoint import Folded, Report
from naslora_core.adapters.folded_linear import Row
from naslora_core.sam import Segmenter


@torch.no_grad()
def fold(model: Adapted) -> Folded:
    """Fold the model as it stands (nothing is discretised); equal to it in eval mode.

    The adapted model is left as it is. Raises UserError for what is no adapted model.
    """
    sam = copy.deepcopy(adapted(model, "fold").sam)
    rows = fold_blocks(sam.image_encoder)
    vanilla_head = model.classes == 1 and head_name(model.head) == "plain"
    head = None if vanilla_head else copy.deepcopy(model.head)
    if head is None:
        model.head.write_back(sam.mask_decoder)
    plain = Segmenter(sam, head).eval().requires_grad_(False)
    plain.take_input_facts(model.input_facts())
    return Folded(plain, Report(tuple(rows), getattr(model.method, "rank", 0)), model.classes)


@torch.no_grad()
def fold_blocks(encoder: nn.Module) -> list[Row]:
    """Fold every layer of an encoder in place; a row for each adapter that was there."""
    if why := getattr(encoder, "why_unfoldable", ""):
        return [_stuck(i, why) for i, _ in enumerate(encoder.blocks)]
    return [row for i, block in enumerate(encoder.blocks) for row in _fold_parts(i, block, "")]


def _fold_parts(i: int, module: nn.Module, path: str) -> list[Row]:
    rows = []
    for name, part in list(module.named_children()):
        if hasattr(part, "fold"):
            folded, told = part.fold(i, path + name)
            setattr(module, name, folded)
            rows += told
        elif why := getattr(part, "why_unfoldable", ""):
            rows.append(_stuck(i, why))
        else:
            rows += _fold_parts(i, part, f"{path}{name}.")
    return rows


def _stuck(i: int, why: str) -> Row:
    return Row(i, "nothing", 0, -1, why, "block")
