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
        mistakes={
            "Wd goes up to 3 dim outputs, not to dim: q, k and v come from one Linear.": (
                lambda rank, dim, blocks: blocks * rank * 2 * dim
            ),
            "This counts one block; every block has both matrices.": (
                lambda rank, dim, blocks: rank * 4 * dim
            ),
            "This is the size of the dense change; LoRA stores two thin matrices instead.": (
                lambda rank, dim, blocks: blocks * 3 * dim * dim
            ),
        },
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
        hint="Every parameter that training changes must be in the file.",
        mistakes={
            "These are the adapter's names alone: the decoder is trained too and is missing.": (
                lambda model: [n for n, _ in model.named_parameters() if "We" in n or "Wd" in n]
            ),
            "These are all parameters: the frozen base need not be saved, the file would be as "
            "large as SAM.": (lambda model: [n for n, _ in model.named_parameters()]),
            "These are the encoder's trained tensors: the decoder is trained too and is missing.": (
                lambda model: [
                    n for n, p in model.named_parameters() if p.requires_grad and "encoder" in n
                ]
            ),
        },
        proves="A rule by `requires_grad` finds every trained part; a rule by names can miss one.",
    )
