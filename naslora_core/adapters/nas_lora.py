"""NAS-LoRA (Chen, Su, Tang 2025): y = W0 x + b + s Wd sum_i softmax(alpha)_i O_i(We x)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from naslora_core.adapters.lora import LoRA, Margins
from naslora_core.adapters.spatial import SpatialLoRALinear
from naslora_core.search import BlockChoice, Cell, Genotype, project, set_hash


@dataclass(frozen=True)
class NASLoRA(LoRA):
    """operators: a set's name or a tuple of names; start: "beside", "identity" or "plain"."""

    operators: str | tuple[str, ...] = "linear"
    start: str = "beside"

    def wrap(self, linear: nn.Module, margins: Margins = (0, 0)) -> nn.Module:
        cell = Cell(self.rank, self.operators, self.start)
        return SpatialLoRALinear(linear, self.rank, self.scale, cell, margins)


def cells(model: nn.Module) -> dict[str, Cell]:
    """The searchable cells of a model, by block (and Linear, where it is not qkv), in order."""
    return {_label(n): m for n, m in model.named_modules() if isinstance(m, Cell)}


def _label(name: str) -> str:
    """`...blocks.3.attn.qkv.cell` is "block 3", `...blocks.3.mlp.lin1.cell` "block 3 mlp.lin1"."""
    number, *rest = name.split("blocks.")[1].split(".")
    where = ".".join(r for r in rest if r != "cell").removeprefix("attn.qkv").strip(".")
    return f"block {number} {where}".strip()


@torch.no_grad()
def read_genotype(model: nn.Module, images: Tensor, **circumstances) -> Genotype | None:
    """Both readings of every cell on the z that `images` (`B 3 S S`, 0..255) send through it.

    circumstances: schedule, data, seed. None where the model has no cell.
    """
    found, seen = cells(model), {}
    hooks = [
        c.register_forward_pre_hook(lambda m, z: seen.update({m: z[0]})) for c in found.values()
    ]
    model(images)
    for hook in hooks:
        hook.remove()
    if not found:
        return None
    blocks = [_block(name, cell, seen[cell]) for name, cell in found.items()]
    names = next(iter(found.values())).names
    start = model.method.start
    return Genotype(list(names), set_hash(names), blocks, start, **circumstances)


def _block(name: str, cell: Cell, z: Tensor) -> BlockChoice:
    choice, p = project(cell, z.float()), cell.probabilities().double()
    first, second = p.topk(2).values if len(p) > 1 else (p[0], p.new_zeros(()))
    entropy = -(p * p.log()).nan_to_num().sum() / torch.log(p.new_tensor(float(max(len(p), 2))))
    return BlockChoice(
        block=name,
        alpha=cell.arch_alpha.tolist(),
        probability=p.tolist(),
        argmax=choice.argmax,
        projection=choice.projection,
        residual=choice.residual,
        margin=float(first - second),
        entropy=float(entropy),
    )
