"""Exercises of lesson 02: what an adapter weighs, and what its file must hold."""

from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.cases import integers


def ex_2_1(answer):
    """How large is LoRA?"""
    return checks.check(
        "2.1",
        answer,
        lambda rank, dim, blocks: blocks * rank * (dim + 3 * dim),
        lambda rng: integers(rng, (1, 17), (8, 1281), (1, 33)),
        up_to_dim=lambda rank, dim, blocks: blocks * rank * 2 * dim,
        one_block=lambda rank, dim, blocks: rank * 4 * dim,
        dense=lambda rank, dim, blocks: blocks * 3 * dim * dim,
    )


def ex_2_2(answer):
    """The adapter that forgot its decoder"""
    from naslora_core.adapters import LoRA, NASLoRA, adapt
    from naslora_core.sam import build_nano

    def trained(model):
        return [n for n, p in model.named_parameters() if p.requires_grad]

    sam = build_nano()
    return checks.check(
        "2.2",
        answer,
        trained,
        [(adapt(sam, LoRA(rank=2)),), (adapt(sam, NASLoRA(rank=2)),)],
        adapter_alone=lambda model: [
            n for n, _ in model.named_parameters() if "We" in n or "Wd" in n
        ],
        everything=lambda model: [n for n, _ in model.named_parameters()],
        encoder_alone=lambda model: [n for n in trained(model) if "encoder" in n],
    )
