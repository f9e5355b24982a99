"""Exercises of lesson 02: what an adapter weighs, and what its file must hold."""

from naslora_workbook.lessons import checks


def ex_2_1(answer):
    """How large is LoRA?"""

    def case(rng):
        return int(rng.integers(1, 17)), int(rng.integers(8, 1281)), int(rng.integers(1, 33))

    return checks.check(
        "2.1",
        answer,
        lambda rank, dim, blocks: blocks * rank * (dim + 3 * dim),
        case,
        hint="We has rank x dim weights, Wd has 3 dim x rank, and every block has both.",
        proves="LoRA grows with the rank and the width, not with the width's square.",
    )


def ex_2_2(answer):
    """The adapter that forgot its decoder"""
    from naslora_core.adapters import LoRA, NASLoRA, adapt
    from naslora_core.sam import build_nano

    sam = build_nano()
    return checks.check(
        "2.2",
        answer,
        lambda model: [n for n, p in model.named_parameters() if p.requires_grad],
        [(adapt(sam, LoRA(rank=2)),), (adapt(sam, NASLoRA(rank=2)),)],
        hint="Whatever moves in training must be in the file.",
        proves="A rule by what moves cannot forget a part; a rule by names can.",
    )
