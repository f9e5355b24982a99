"""Where full fine-tuning's gain goes: into the rank, into which Linears, or into the steps.

    python -m naslora_workbook.research.low_rank_budget

Lesson 05's data and settings, three seeds. Keeps a record a seed and row, with the mean test Dice,
as the results "low_rank_budget".
"""

from collections.abc import Callable

import torch
from torch import Tensor

from naslora_core import LoRA, adapt, evaluate, fit, load_sam
from naslora_core.adapters import Full
from naslora_core.adapters.target_layers import places
from naslora_core.data import open_data
from naslora_workbook.lessons.profiles import profile
from naslora_workbook.research.provenance import provenance
from naslora_workbook.results.records import keep, recorded

NAME = "low_rank_budget"
COMMAND = "python -m naslora_workbook.research.low_rank_budget"
LINEARS = ("qkv", "proj", "lin1", "lin2")
RANK, SCALE, SEEDS = 4, 4.0, (0, 1, 2)


def linears(model) -> dict[str, Tensor]:
    """The weights of all four Linears of a SAM's blocks, by block and name."""
    blocks = model.image_encoder.blocks
    found = ((i, place) for i, block in enumerate(blocks) for place in places(block, LINEARS))
    return {f"{i} {place.name}": place.module.weight for i, place in found}


@torch.no_grad()
def dice_of_changes(model, sam, names, rank: int | None, score: Callable) -> float:
    """Dice with the changes of the named Linears alone, cut to their first `rank` directions (whole
    for None); the others are undone."""
    tuned, base = linears(model.sam), linears(sam)
    whole = {key: w.clone() for key, w in tuned.items()}
    for key, w in tuned.items():
        u, s, v = torch.linalg.svd(w - base[key], full_matrices=False)
        change = (u[:, :rank] * s[:rank]) @ v[:rank]
        w.copy_(base[key] + (change if key.split()[1] in names else 0))
    found = score(model)
    for key, w in tuned.items():
        w.copy_(whole[key])
    return found


def rows(sam, seed: int) -> dict[str, float]:
    """Mean test Dice of every row of the table for one seed."""
    setting = profile("smoke")
    data, few = open_data("leaf", setting, seed=seed), setting.steps // 3

    def train(method, steps: int, lr: float = 2e-3):
        model = adapt(sam, method, classes=1, seed=seed)
        batch = {"batch": setting.batch, "seed": seed, "progress": False}
        return fit(model, data, steps=steps, lr=lr, **batch).model

    def score(model) -> float:
        return float(evaluate(model, data.test, classes=1).mean["dice"])

    full = train(Full(), few, 5e-4)
    return {
        "full": score(full),
        "full, all Linears, rank 4": dice_of_changes(full, sam, LINEARS, RANK, score),
        "full, qkv alone, uncut": dice_of_changes(full, sam, ("qkv",), None, score),
        "full, qkv alone, rank 4": dice_of_changes(full, sam, ("qkv",), RANK, score),
        "LoRA on qkv": score(train(LoRA(RANK, SCALE), few)),
        "LoRA on all Linears": score(train(LoRA(RANK, SCALE, linears=LINEARS), few)),
        "LoRA on qkv, three times the steps": score(train(LoRA(RANK, SCALE), setting.steps)),
    }


def recorded_budget() -> tuple[dict[str, list[float]], dict]:
    """The recorded table, row -> test Dice by seed, and its provenance."""
    records, table = recorded(NAME), {}
    for record in records:
        table.setdefault(record["row"], []).append(record["dice"])
    return table, records[0]["provenance"]


def main() -> None:
    """Compute every seed and keep the records."""
    sam, made, records = load_sam("sam_nano"), provenance(COMMAND), []
    for seed in SEEDS:
        for row, dice in rows(sam, seed).items():
            records.append({"seed": seed, "row": row, "dice": round(dice, 4), "provenance": made})
            print(records[-1])
    keep(NAME, records)


if __name__ == "__main__":
    main()
