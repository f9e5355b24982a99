"""Read what a search found: both readings of every cell of an adapted model."""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from naslora_core.adapters.nas_lora import cells, decoders
from naslora_core.search import (
    BlockChoice,
    Cell,
    Choice,
    Genotype,
    argmax,
    entropy,
    project,
    set_hash,
)


def choices(model: nn.Module, images: Tensor, held: int | None = None) -> dict[str, Choice]:
    """Of every cell the readings on the z that `images` (`B 3 S S`, 0..255) send through it.

    held: images in a forward pass, None for all at once.
    """

    def run() -> None:
        for part in images.split(held or len(images)):
            model(part)

    return read_cells(model, run)


@torch.no_grad()
def read_cells(model: nn.Module, run: Callable) -> dict[str, Choice]:
    """Of every cell the readings on the z that run() sends through it.

    We and Wd are learned, so the basis of z means nothing: projection leaves it free.
    """
    found, seen = cells(model), defaultdict(list)
    hooks = [c.register_forward_pre_hook(lambda m, z: seen[m].append(z[0])) for c in found.values()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    Wd = decoders(model)
    return {n: _read(c, torch.cat(seen[c]).float(), Wd[n]) for n, c in found.items()}


def _read(cell: Cell, z: Tensor, decoder: Tensor) -> Choice:
    """A mixed kernel that is not the whole cell explains nothing: then alpha alone is read."""
    return project(cell, z, decoder=decoder) if cell.linear else Choice(argmax(cell), None, {})


def read_genotype(
    model: nn.Module, images: Tensor, held: int | None = None, **circumstances
) -> Genotype | None:
    """The genotype of a model's cells, on `images` (`B 3 S S`, 0..255), `held` of them at once.

    circumstances: schedule, data, seed. None where there is nothing to read: without a cell, and
    after choosing. Alpha that never moved (searches=False) is read too, and is uniform.
    """
    found = cells(model)
    if not found or not hasattr(model.method, "operators"):
        return None
    read = choices(model, images, held)
    blocks = [_block(name, cell, read[name]) for name, cell in found.items()]
    names = next(iter(found.values())).names
    start = model.method.start
    return Genotype(list(names), set_hash(names), blocks, start, **circumstances)


def _block(name: str, cell: Cell, choice: Choice) -> BlockChoice:
    p = cell.probabilities().detach().double()
    first, second = p.topk(2).values if len(p) > 1 else (p[0], p.new_zeros(()))
    return BlockChoice(
        block=name,
        alpha=cell.arch_alpha.tolist(),
        probability=p.tolist(),
        argmax=choice.argmax,
        projection=choice.projection,
        residual=choice.residual,
        margin=float(first - second),
        entropy=float(entropy(p)),
    )
