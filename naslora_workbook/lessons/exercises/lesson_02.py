"""Exercises of lesson 02: what an adapter weighs, and what its file must hold."""

from naslora_core.adapters import LoRA, NASLoRA, adapt
from naslora_core.sam import build_nano
from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import integers


@exercise(
    "How large is LoRA?",
    lambda rank, dim, blocks: blocks * rank * (dim + 3 * dim),
    up_to_dim=lambda rank, dim, blocks: blocks * rank * 2 * dim,
    one_block=lambda rank, dim, blocks: rank * 4 * dim,
    dense=lambda rank, dim, blocks: blocks * 3 * dim * dim,
)
def ex_2_1(rng):
    return integers(rng, (1, 17), (8, 1281), (1, 33))


def _trained(model) -> list[str]:
    return [n for n, p in model.named_parameters() if p.requires_grad]


@exercise(
    "An adapter saved without its decoder",
    _trained,
    adapter_alone=lambda model: [n for n, _ in model.named_parameters() if "We" in n or "Wd" in n],
    everything=lambda model: [n for n, _ in model.named_parameters()],
    encoder_alone=lambda model: [n for n in _trained(model) if "encoder" in n],
)
def ex_2_2():
    sam = build_nano()
    return [(adapt(sam, NASLoRA(rank=2)),), (adapt(sam, LoRA(rank=2)),)]
