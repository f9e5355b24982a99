"""Gradients of two steps in which nothing moves."""

import torch
from tiny import tiny_data

from naslora_core import adapt
from naslora_core.sam import build_nano
from naslora_core.search.schedule import Schedule, Stage
from naslora_core.training.loop import TrainingRun
from naslora_core.training.losses import structure
from naslora_workbook.research.methods import METHODS


def gradients(method: str, second: str = "weights", parts: int = 1) -> dict:
    """By "a." or "b." and name: alpha is frozen in step a, and what `second` says moves in b."""
    torch.manual_seed(0)
    model = adapt(build_nano().eval(), METHODS[method])
    for p in model.trainable().values():
        p.data.add_(0.01)  # Wd leaves zero, so that alpha has a gradient
    stages = Stage("a", 1, "weights", 0.0), Stage("b", 1, second, 0.0, 0.0)
    run = TrainingRun(model, tiny_data().train, Schedule("two", stages), 4, 0, structure, parts)
    model.train()
    found = {}
    for (stage, done), batch in zip(run.schedule.timeline, run.batches(), strict=True):
        run.train_step(stage, done, *batch)
        moved = {n: p.grad for n, p in model.trainable().items() if p.grad is not None}
        found |= {f"{stage.name}.{n}": g.clone().contiguous() for n, g in moved.items()}
    return found
