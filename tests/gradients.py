"""Gradients of two steps in which nothing moves: alone, or as a script on several processes.

python tests/gradients.py FILE PROCESSES
"""

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parents[1])]  # beside this folder, which a script has anyway

from tiny import tiny_data, tiny_sam  # noqa: E402

from naslora_core import adapt  # noqa: E402
from naslora_core.search.schedule import Schedule, Stage  # noqa: E402
from naslora_core.training.devices import launch, single_process  # noqa: E402
from naslora_core.training.loop import TrainingRun  # noqa: E402
from naslora_core.training.losses import structure  # noqa: E402
from naslora_workbook.research.methods import METHODS  # noqa: E402


def gradients(method: str, second: str = "weights", parts: int = 1, fabric=None) -> dict:
    """By "a." or "b." and name: alpha is frozen in step a, and what `second` says moves in b."""
    model = adapt(tiny_sam(), METHODS[method])
    for p in model.trainable().values():
        p.data.add_(0.01)  # Wd leaves zero, so that alpha has a gradient
    stages = Stage("a", 1, "weights", 0.0), Stage("b", 1, second, 0.0, 0.0)
    fabric = fabric or single_process(torch.device("cpu"))
    run = TrainingRun(
        model, tiny_data().train, Schedule("two", stages), 4, 0, structure, fabric, parts
    )
    model.train()
    found = {}
    for (stage, done), batch in zip(run.schedule.timeline, run.batches(), strict=True):
        run.train_step(stage, done, *batch)
        moved = {n: p.grad for n, p in model.trainable().items() if p.grad is not None}
        found |= {f"{stage.name}.{n}": g.clone().contiguous() for n, g in moved.items()}
    return found


if __name__ == "__main__":
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    fabric = launch(devices=int(sys.argv[2]), accelerator="cpu")
    found = gradients("nas_lora", "both", fabric=fabric)
    if fabric.is_global_zero:
        save_file(found, sys.argv[1])
