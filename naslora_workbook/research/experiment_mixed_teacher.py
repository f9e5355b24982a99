"""A teacher with another operator in every block: does the searched genotype pay (experiment 5)?

    python -m naslora_workbook.research.experiment_mixed_teacher run
    python -m naslora_workbook.research.experiment_mixed_teacher table

The teacher is `sam_nano` with four operators in its last four blocks, in an order drawn by the
seed. Students imitate its embeddings from scratch. The score is the squared error on new images,
as a share of that of the base alone: 0 is the teacher, 1 is the base.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from naslora_core.adapters import ChosenLoRA, LoRA, NASLoRA, adapt
from naslora_core.adapters.discretisation import read_cells
from naslora_core.sam import load_sam
from naslora_workbook.lessons.domains import domain
from naslora_workbook.research.experiment_power import BED
from naslora_workbook.research.operator_recovery import plan, search
from naslora_workbook.research.provenance import provenance
from naslora_workbook.research.recovery_in_sam import Tail, batch, plant, tokens
from naslora_workbook.results.labels import markdown
from naslora_workbook.results.records import experiments, keep, recorded

NAME = "experiments/mixed_teacher"  # of its records
OPERATORS = ("conv_1x1", "avg_pool_3x3", "conv_5x5", "dil_conv_3x3")
SETTING = replace(BED, blocks=(2, 3, 4, 5), steps=200)
READINGS = ("argmax", "projection")


def run(seeds: list[int]) -> None:
    """Every seed that the records lack; its students are kept together."""
    torch.set_num_threads(1)
    sam, data = load_sam(), domain("polyp", train=64, val=48)
    first = min(SETTING.blocks)
    images, unseen = (tokens(sam, list(part), first) for part in (data.train, data.val))
    done = {r["seed"] for r in packed()}
    made = provenance(f"python -m {__spec__.name} run")
    for seed in (s for s in seeds if s not in done):
        found = list(students(sam, images, unseen, seed))
        keep(NAME, [{"seed": seed, **one, "provenance": made} for one in found], add=True)


def students(sam: nn.Module, images: Tensor, unseen: Tensor, seed: int) -> Iterator[dict]:
    """Of every student its name, operators by block and error."""
    rng = np.random.default_rng(seed)
    planted = tuple(str(n) for n in rng.permutation(OPERATORS))
    teacher = plant(sam, chosen(planted), seed, SETTING, images)
    imitate = partial(student, sam, teacher, images, unseen, seed)
    nas = NASLoRA(SETTING.rank, 1.0, SETTING.blocks)
    model, error = imitate(nas)
    yield {"student": "searched", "operators": (), "error": error}
    read = read_cells(model, partial(tail(model), images[:16])).values()
    chosen_for = {f"genotype, {r}": tuple(getattr(c, r) for c in read) for r in READINGS}
    chosen_for |= {"planted": planted}
    chosen_for |= {f"{n}, shuffled": shuffled(ops, rng) for n, ops in chosen_for.items()}
    chosen_for |= {f"{n} alone": (n,) * len(planted) for n in OPERATORS}
    for name, operators in chosen_for.items():
        error = imitate(chosen(operators))[1]
        yield {"student": name, "operators": operators, "error": error}
    rest = {"uniform": replace(nas, searches=False), "lora": LoRA(nas.rank, 1.0, nas.blocks)}
    yield from ({"student": n, "operators": (), "error": imitate(m)[1]} for n, m in rest.items())


def chosen(names: tuple[str, ...]) -> ChosenLoRA:
    """One operator a block; `none` beside a skip is that skip alone."""
    names = tuple("skip" if n == "none" else n for n in names)
    return ChosenLoRA(SETTING.rank, 1.0, SETTING.blocks, chosen=names)


def shuffled(names: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """The names moved on by one to three blocks, so that none of four different ones stays."""
    return tuple(np.roll(names, rng.integers(1, len(names))).tolist())


def tail(model: nn.Module) -> Tail:
    return Tail(model.sam.image_encoder, min(SETTING.blocks))


def student(sam, teacher, images: Tensor, unseen: Tensor, seed: int, method):
    """A student trained from scratch, and its error on unseen images as a share of the base's."""
    model, guide = adapt(sam, method, seed=seed), tail(teacher)
    searches = getattr(method, "searches", False)
    how = plan(replace(SETTING, schedule="joint" if searches else "weights"))
    with torch.no_grad():
        y, goal = guide(images), guide(unseen)
    for _ in search(tail(model), partial(batch, images, y, SETTING, seed), how):
        pass
    with torch.no_grad():
        base = Tail(sam.image_encoder, min(SETTING.blocks))(unseen)
        left = (tail(model)(unseen) - goal).square().mean() / (base - goal).square().mean()
    return model, round(left.item(), 4)


def packed() -> list[dict]:
    return recorded(NAME) if NAME in experiments() else []


def rows() -> Iterator[list[str]]:
    """A row a student: error by seed, mean."""
    found = packed()
    for name in dict.fromkeys(r["student"] for r in found):
        errors = [r["error"] for r in found if r["student"] == name]
        yield [name, ", ".join(f"{e:.3f}" for e in errors), f"{np.mean(errors):.3f}"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    a = parser.parse_args()
    if a.what == "table":
        print(markdown(("student", "error by seed", "mean"), rows()))
    else:
        run(a.seeds)
