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
from naslora_core.adapters.base import Adapted, head_name, selected
from naslora_core.adapters.lora import LoRALinear
from naslora_core.adapters.places import LINEARS, widen
from naslora_core.adapters.report import Report, Row
from naslora_core.adapters.ssf import merged
from naslora_core.adapters.windows import Windows, on_map
from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_core.sam import Segmenter

FORMAT = "naslora-folded-3"


class FoldedLinear(nn.Module):
    """W0' x + Wd (K' * We x): K' has no centre tap, s is in Wd.

    margins as LoRALinear has them, windows as SpatialLoRALinear has them.
    """

    def __init__(self, linear: nn.Module, We: Tensor, kernel: Tensor, Wd: Tensor, margins, windows):
        super().__init__()
        self.linear, self.margins = linear, tuple(margins)
        self.windows = Windows(*windows) if windows else None
        self.in_features, self.out_features = linear.in_features, linear.out_features
        for name, value in (("We", We), ("kernel", kernel), ("Wd", Wd)):
            self.register_buffer(name, value.clone())

    def forward(self, x: Tensor) -> Tensor:
        z = on_map(self.convolve, x @ self.We.T, self.windows)
        return self.linear(x) + widen(z @ self.Wd.T, self.margins)

    def convolve(self, z: Tensor) -> Tensor:
        """K' * z, `B r H W`."""
        return F.conv2d(z, self.kernel, padding=self.kernel.shape[-1] // 2)


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
        return self.report.pointwise and self.model.head is None

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
            why = (
                "; ".join(r.why for r in self.report.rows if r.side_macs)
                or "several classes, or tokens that choose theirs"
            )
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
        beside = [r for r in self.report.rows if r.side_macs]
        sides = [[r.block, r.linear, r.kernel_side, r.margins, r.windows] for r in beside]
        name, classes = self.model.sam.model_name, str(self.classes)
        head = head_name(self.model.head) if self.model.head else "none"
        facts = {"format": FORMAT, "base_name": name, "classes": classes, "head": head}
        return facts | {"sides": json.dumps(sides), "rank": str(self.report.rank)}


@torch.no_grad()
def fold(model: Adapted) -> Folded:
    """Fold the model as it stands (nothing is discretised); equal to it in eval mode.

    The adapted model is left as it is.
    """
    sam, rows = merged(model.sam), []  # SSF's scales and shifts go first
    why = getattr(model.method, "stays", "")
    for i, block in enumerate(() if why else sam.image_encoder.blocks):
        for part, name in LINEARS.values():
            owner = getattr(block, part)
            setattr(owner, name, _folded(i, f"{part}.{name}", getattr(owner, name), rows))
    if why:
        chosen = selected(sam.image_encoder, model.method.blocks)
        rows = [Row(i, "nothing", 0, -1, why, "block") for i, _ in chosen]
    vanilla_head = model.classes == 1 and head_name(model.head) == "plain"
    head = None if vanilla_head else copy.deepcopy(model.head)
    if head is None:
        model.head.write_back(sam.mask_decoder)
    plain = Segmenter(sam, head).eval().requires_grad_(False)
    return Folded(plain, Report(tuple(rows), getattr(model.method, "rank", 0)), model.classes)


def _folded(i: int, name: str, module: nn.Module, rows: list[Row]) -> nn.Module:
    """A Linear without its adapters, innermost first, and a row for each."""
    if not isinstance(module, LoRALinear):
        return module
    module.base = _folded(i, name, module.base, rows)
    kernel = _kernel(module)
    if kernel is None:
        others = [o for o in getattr(module.cell, "operators", ()) if not o.linear]
        why = "; ".join(f"{o.name} {o.stays}" for o in others)
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
    """The plain Linear under what has folded so far."""
    while isinstance(module, FoldedLinear):
        module = module.linear
    return module


def trimmed(kernel: Tensor) -> Tensor:
    """A kernel `r r k k` without outer rings that are exactly zero."""
    while kernel.shape[-1] > 1:
        inner = kernel[..., 1:-1, 1:-1]
        if torch.count_nonzero(kernel) != torch.count_nonzero(inner):
            break
        kernel = inner
    return kernel
