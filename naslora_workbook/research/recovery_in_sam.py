"""A planted operator inside a SAM: real features, We and Wd from scratch, noise on the targets.

The teacher is the frozen encoder with a one-operator adapter in some blocks; the student searches
the whole operator set in the same blocks, to give the teacher's embeddings. Frozen blocks before
the first adapted one are run once.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from naslora_core.adapters import LoRA, NASLoRA, adapt
from naslora_core.adapters.discretisation import read_cells
from naslora_core.adapters.nas_lora import cells, decoders
from naslora_core.data.transforms import to_batch
from naslora_core.search.operator_registry import build, operator_names
from naslora_core.search.projection import explain
from naslora_workbook.research.operator_recovery import Race, plan, search

EVERY = 50  # steps between readings


@dataclass(frozen=True)
class Bed:
    """blocks: which carry teacher and student; strength: standard deviation of the teacher's path
    as a share of W0 x; noise likewise of the embedding; images a step, steps and rates."""

    blocks: tuple[int, ...] = (4, 5)
    rank: int = 4
    strength: float = 0.5
    noise: float = 0.1
    batch: int = 8
    steps: int = 1000
    schedule: str = "joint"
    start: str = "beside"
    lr: float = 5e-3
    alpha_lr: float = 0.02


class Tail(nn.Module):
    """The encoder from block `first` on: tokens `B h w d` to the embedding `B C h w`."""

    def __init__(self, encoder: nn.Module, first: int):
        super().__init__()
        self.blocks, self.neck = encoder.blocks[first:], encoder.neck

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))


@torch.no_grad()
def tokens(sam: nn.Module, samples, first: int) -> Tensor:
    """What enters block `first` for every sample, `N h w d`."""
    encoder = sam.image_encoder
    images, _ = to_batch(samples, encoder.img_size)
    x = encoder.patch_embed((images - sam.pixel_mean) / sam.pixel_std) + encoder.pos_embed
    for block in encoder.blocks[:first]:
        x = block(x)
    return x


def one_operator(name: str, bed: Bed) -> NASLoRA:
    """The method of a teacher with one operator in all its blocks."""
    return NASLoRA(bed.rank, 1.0, bed.blocks, operators=(name,), start="plain")


def plant(sam: nn.Module, method: LoRA, seed: int, bed: Bed, x: Tensor):
    """The teacher's model, its Wd scaled so that every path has the wanted strength on x."""
    model = adapt(sam, method, seed=1000 + seed)
    g = torch.Generator().manual_seed(1000 + seed)
    with torch.no_grad():
        for block in model.sam.image_encoder.blocks[min(bed.blocks) :]:
            linear, seen = block.attn.qkv, {}
            linear.Wd.copy_(torch.randn(linear.Wd.shape, generator=g))
            hook = linear.register_forward_hook(
                lambda m, x, y, seen=seen: seen.update(plain=m.base(x[0]), whole=y)
            )
            block(x)
            hook.remove()
            path = seen["whole"] - seen["plain"]
            linear.Wd.mul_(bed.strength * seen["plain"].std() / path.std())
            x = block(x)
    return model.requires_grad_(False)


def race(sam: nn.Module, samples, name: str, seed: int, bed: Bed = Bed()) -> list[Race]:
    """Plant `name` in every block of the bed, search there from scratch: one Race a block."""
    first, schedule, events = min(bed.blocks), plan(bed), []
    x = tokens(sam, samples, first)
    teacher = plant(sam, one_operator(name, bed), seed, bed, x)
    student = adapt(sam, NASLoRA(bed.rank, 1.0, bed.blocks, start=bed.start), seed=seed)
    guide, tail = (Tail(m.sam.image_encoder, first) for m in (teacher, student))
    with torch.no_grad():
        y = guide(x)
    ways = {label: [] for label in cells(student)}
    for step, moves, loss in search(tail, partial(batch, x, y, bed, seed), schedule):
        for label, cell in cells(student).items():
            ways[label].append(cell.probabilities().detach().double().numpy())
        if step % EVERY == 0 or step == schedule.steps:
            read = read_cells(student, partial(tail, x[:16]))
            events.append(({"step": step, "moved": moves, "loss": loss}, read))
    answers = _cheapest(teacher, partial(guide, x[:16]))
    return [_race(name, seed, b, answers[b], events, np.stack(way)) for b, way in ways.items()]


def _cheapest(teacher: nn.Module, run) -> dict[str, str]:
    """Of every block the cheapest class that explains the planted kernel on its own z."""
    operators, found = build(operator_names("linear"), teacher.method.rank), {}
    for label, cell in cells(teacher).items():
        seen = []
        hook = cell.register_forward_pre_hook(lambda _, z, seen=seen: seen.append(z[0]))
        with torch.no_grad():
            run()
        hook.remove()
        found[label] = explain(cell.kernel(), operators, seen[0], decoder=decoders(teacher)[label])
    return {label: answer[0] for label, answer in found.items()}


def _race(name: str, seed: int, place: str, cheapest: str, events: list, way) -> Race:
    """One block's part of a search."""
    reads = [read[place] for _, read in events]
    named = [{"argmax": r.argmax, "projection": r.projection} for r in reads]
    history = [event | names for (event, _), names in zip(events, named, strict=True)]
    rest = {"residual": reads[-1].residual, "history": history, "place": place, "way": way}
    return Race(name, seed, cheapest, **named[-1], **rest)


def batch(x: Tensor, y: Tensor, bed: Bed, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """A batch of tokens and the teacher's embeddings with noise; the latter of unit variance."""
    g = torch.Generator().manual_seed(1_000_003 * seed + step)
    chosen = torch.randperm(len(x), generator=g)[: bed.batch]
    part = y[chosen]
    return x[chosen], part + bed.noise * y.std() * torch.randn(part.shape, generator=g)
