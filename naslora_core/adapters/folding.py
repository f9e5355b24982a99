"""Fold an adapter into its base, exactly, as far as algebra allows.

y = W0 x + s Wd (K * We x).  The centre tap acts token by token, so  W0 += s Wd K[c, c] We . What is
left of K, if anything, stays a small side branch; where nothing is left the block is a plain
Linear again, and when every block is, the encoder is a vanilla SAM checkpoint.
"""

import copy

import torch
from torch import Tensor, nn

from naslora_core.adapters.folded_checkpoint import Folded
from naslora_core.adapters.folded_linear import FoldedLinear, Report, Row
from naslora_core.adapters.lora import LoRALinear
from naslora_core.adapters.method import Adapted, adapted, head_name, selected
from naslora_core.adapters.ssf import merged
from naslora_core.adapters.target_layers import LINEARS
from naslora_core.sam import Segmenter


@torch.no_grad()
def fold(model: Adapted) -> Folded:
    """Fold the model as it stands (nothing is discretised); equal to it in eval mode.

    The adapted model is left as it is.
    """
    sam = merged(adapted(model, "fold").sam)  # SSF's scales and shifts go first
    why = getattr(model.method, "why_unfoldable", "")
    if why:
        chosen = selected(sam.image_encoder, model.method.blocks)
        rows = [Row(i, "nothing", 0, -1, why, "block") for i, _ in chosen]
    else:
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
    """Fold every Linear of an encoder in place; a row for each adapter that was there."""
    rows = []
    for i, block in enumerate(encoder.blocks):
        for part, name in LINEARS.values():
            owner = getattr(block, part)
            setattr(owner, name, _folded(i, f"{part}.{name}", getattr(owner, name), rows))
    return rows


def _folded(i: int, name: str, module: nn.Module, rows: list[Row]) -> nn.Module:
    """A Linear without its adapters, innermost first, and a row for each."""
    if not isinstance(module, LoRALinear):
        return module
    module.base = _folded(i, name, module.base, rows)
    kernel = _kernel(module)
    if kernel is None:
        others = [o for o in getattr(module.cell, "operators", ()) if not o.linear]
        why = "; ".join(f"{o.name} {o.why_unfoldable}" for o in others)
        why = why or "an expert with GELU is no convolution"
        rows.append(Row(i, "nothing", 0, -1, why, name, module.margins))
        return module
    return _fold_linear(i, name, module, trimmed(kernel), rows)


def _kernel(module: LoRALinear) -> Tensor | None:
    """What stands between We and Wd as a kernel `r r k k`; None where no kernel can say it."""
    cell = getattr(module, "cell", None)
    if cell is None:
        return torch.eye(len(module.We)).to(module.We)[..., None, None]
    linear = hasattr(cell, "kernel") and all(o.linear for o in getattr(cell, "operators", ()))
    return cell.kernel() if linear else None


def _fold_linear(i: int, name: str, adapted: LoRALinear, kernel: Tensor, rows) -> nn.Module:
    root, (before, after) = _root(adapted.base), adapted.margins
    rank, side, centre = len(adapted.We), kernel.shape[-1], kernel.shape[-1] // 2
    share = slice(before, root.out_features - after)
    # W0 += s Wd K[c, c] We
    root.weight = nn.Parameter(root.weight.clone())
    root.weight[share] += adapted.scale * adapted.Wd @ kernel[..., centre, centre] @ adapted.We
    if side == 1:
        rows.append(Row(i, "everything", 1, 0, "", name, adapted.margins))
        return adapted.base
    kernel = kernel.clone()
    kernel[..., centre, centre] = 0
    macs = rank * (root.in_features + len(adapted.Wd)) + (side**2 - 1) * rank**2
    cost = macs / (root.in_features * root.out_features)
    what = name.split(".")[1]
    why = f"a {side} x {side} field reaches other tokens, a Linear does not ({cost:.2%} of {what})"
    how = adapted.margins, getattr(adapted, "windows", None)
    rows.append(Row(i, "centre tap", side, macs, why, name, *how))
    wide = adapted.scale * adapted.Wd
    return FoldedLinear(adapted.base, adapted.We, kernel, wide, *how)


def _root(module: nn.Module) -> nn.Linear:
    """The plain Linear under what has folded so far, or could not."""
    while not isinstance(module, nn.Linear):
        module = module.linear if isinstance(module, FoldedLinear) else module.base
    return module


def trimmed(kernel: Tensor) -> Tensor:
    """A kernel `r r k k` without outer rings that are exactly zero."""
    while kernel.shape[-1] > 1:
        inner = kernel[..., 1:-1, 1:-1]
        if torch.count_nonzero(kernel) != torch.count_nonzero(inner):
            break
        kernel = inner
    return kernel
