"""Gradients of the first step of a leg of pre-training, alone or on several processes.

python tests/leg.py FILE PROCESSES
"""

import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from naslora_core.training.devices import launch
from naslora_workbook.research.pretraining.leg import Leg, batches
from naslora_workbook.research.pretraining.pretrain import Trainer

if __name__ == "__main__":
    torch.set_num_threads(1)
    leg = Leg(scenes=4, batch=4, clicks=2, boxes=1, correct_every=1)
    fabric = launch(devices=int(sys.argv[2]), accelerator="cpu")
    trainer = Trainer(leg, Path(tempfile.mkdtemp()), fabric=fabric)
    trainer.bf16 = False
    trainer.update(next(batches(leg, 0, 128, fabric, workers=0)))
    if fabric.is_global_zero:
        found = {n: p.grad for n, p in trainer.sam.named_parameters() if p.grad is not None}
        save_file({n: g.contiguous() for n, g in found.items()}, sys.argv[1])
