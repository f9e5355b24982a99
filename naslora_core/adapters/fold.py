"""Fold an adapter into its base, exactly, as far as algebra allows.

y = W0 x + s Wd (K * We x).  The centre tap acts token by token, so  W0 += s Wd K[c, c] We . What is
left of K, if anything, stays a small side branch; where nothing is left the block is a plain
Linear again, and when every block is, the encoder is a vanilla SAM checkpoint.
"""

import copy
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters import tensor_file
from naslora_core.adapters.base import Adapted
from naslora_core.adapters.lora import LoRALinear
from naslora_core.adapters.report import Report, Row
from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_core.sam import Segmenter

FORMAT = "naslora-folded-1"


class FoldedLinear(nn.Module):
    """W0' x + Wd (K' * We x): K' has no centre tap, s is in Wd."""

    def __init__(self, linear: nn.Linear, We: Tensor, kernel: Tensor, Wd: Tensor):
        super().__init__()
        self.linear = linear
        for name, value in (("We", We), ("kernel", kernel), ("Wd", Wd)):
            self.register_buffer(name, value.clone())

    def forward(self, x: Tensor) -> Tensor:
        z = (x @ self.We.T).permute(0, 3, 1, 2)
        z = F.conv2d(z, self.kernel, padding=self.kernel.shape[-1] // 2)
        return self.linear(x) + z.permute(0, 2, 3, 1) @ self.Wd.T


@dataclass(frozen=True)
class Folded:
    """The folded model (a Segmenter) and the report of what folded and what it costs.

    The IoU head was never trained, so the IoU that the model predicts is stale, and so are the
    masks 1 to 3 of a multimask answer: the decoder they share was trained for mask 0.
    """

    model: Segmenter
    report: Report
    classes: int = field(default=1)

    @property
    def vanilla(self) -> bool:
        """Whether `segment_anything` can load and run it as it is."""
        return self.report.pointwise and self.classes == 1

    def save(self, path: str | Path) -> Path:
        """`.pth`: official layout, only if vanilla; `.safetensors`: with side branches."""
        path = Path(path)
        if path.suffix == ".pth":
            write_atomic(path, self._official())
        elif path.suffix == ".safetensors":
            tensor_file.write(path, self.model.state_dict(), self._facts())
        else:
            raise UserError(f"{path.name} has no known ending; use .pth or .safetensors.")
        return path

    def _official(self) -> bytes:
        if not self.vanilla:
            why = "; ".join(r.why for r in self.report.rows if r.side_macs) or "several classes"
            raise UserError(
                f"A .pth for vanilla segment_anything cannot hold this model ({why}); save it as "
                ".safetensors and load it with load_folded."
            )
        buffer = io.BytesIO()
        torch.save(self.model.sam.state_dict(), buffer)
        return buffer.getvalue()

    def _facts(self) -> dict[str, str]:
        stuck = [r for r in self.report.rows if r.side_macs < 0]
        if stuck:
            raise UserError(
                f"Block {stuck[0].block} did not fold ({stuck[0].why}); keep the adapted model "
                "with save_adapter."
            )
        sides = {str(r.block): r.kernel_side for r in self.report.rows if r.side_macs}
        name, classes = self.model.sam.model_name, str(self.classes)
        facts = {"format": FORMAT, "base_name": name, "classes": classes}
        return facts | {"sides": json.dumps(sides), "rank": str(self.report.rank)}


@torch.no_grad()
def fold(model: Adapted) -> Folded:
    """Fold the model as it stands (nothing is discretised); equal to it in eval mode.

    The adapted model is left as it is.
    """
    sam, rows = copy.deepcopy(model.sam), []
    for i, block in enumerate(sam.image_encoder.blocks):
        if isinstance(block.attn.qkv, LoRALinear):
            block.attn.qkv, row = _fold_linear(i, block.attn.qkv)
            rows.append(row)
    head = None if model.classes == 1 else copy.deepcopy(model.head)
    if head is None:
        model.head.write_back(sam.mask_decoder)
    plain = Segmenter(sam, head).eval().requires_grad_(False)
    return Folded(plain, Report(tuple(rows), getattr(model.method, "rank", 0)), model.classes)


def _fold_linear(i: int, adapted: LoRALinear) -> tuple[nn.Module, Row]:
    cell = getattr(adapted, "cell", None)
    stubborn = [op.name for op in getattr(cell, "operators", ()) if not op.linear]
    if stubborn:
        return adapted, Row(i, "nothing", 0, -1, f"{', '.join(stubborn)} is no convolution")
    rank, linear = len(adapted.We), copy.deepcopy(adapted.base)
    kernel = trimmed(cell.kernel()) if cell else torch.eye(rank)[..., None, None].to(adapted.We)
    side, centre = kernel.shape[-1], kernel.shape[-1] // 2
    # W0 += s Wd K[c, c] We
    linear.weight = nn.Parameter(
        linear.weight + adapted.scale * adapted.Wd @ kernel[..., centre, centre] @ adapted.We
    )
    if side == 1:
        return linear, Row(i, "everything", 1, 0, "")
    kernel = kernel.clone()
    kernel[..., centre, centre] = 0
    branch = FoldedLinear(linear, adapted.We, kernel, adapted.scale * adapted.Wd)
    macs = rank * (linear.in_features + linear.out_features) + (side**2 - 1) * rank**2
    share = macs / (linear.in_features * linear.out_features)
    why = f"a {side} x {side} field reaches other tokens, a Linear does not ({share:.2%} of qkv)"
    return branch, Row(i, "centre tap", side, macs, why)


def trimmed(kernel: Tensor) -> Tensor:
    """A kernel `r r k k` without outer rings that are exactly zero."""
    while kernel.shape[-1] > 1:
        inner = kernel[..., 1:-1, 1:-1]
        if torch.count_nonzero(kernel) != torch.count_nonzero(inner):
            break
        kernel = inner
    return kernel
