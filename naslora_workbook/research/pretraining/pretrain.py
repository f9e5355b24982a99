"""Pre-train `sam_nano` on endless scenes, as SAM is trained: clicks, boxes, corrections.

    python -m naslora_core pretrain --scenes 240000 --decay 0.1 --out build/pretrain
    python -m naslora_core pretrain --scenes 900000 --decay 1 --device cuda --workers 14 --batch 64

The learning rate is constant after a warm-up and falls to zero over the last `decay` of a leg, so
every leg ends in a usable checkpoint. A killed leg goes on from its state, as does a longer one; in
an empty folder a leg begins with the packaged weights. A GPU computes in bf16, a CPU in float32.
`publish` writes the files of new weights: tensors, manifest with its table, learning curve.
"""

import hashlib
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from naslora_core.errors import UserError
from naslora_core.files import make_folder, write_atomic
from naslora_core.sam import build_nano
from naslora_core.sam.checkpoints import WEIGHTS, manifest, read_state
from naslora_workbook.research.base_table import SCENE_COUNT, SCENE_SEED, scene_cases, score
from naslora_workbook.research.pretraining.leg import Leg, batches, learning_rate, step_loss
from naslora_workbook.research.provenance import provenance

VALIDATION_SEED = 555_001
POSITION = "begin", "seen", "minutes"  # of a leg: scenes at its start and now, and its time


class Trainer:
    """Model, optimisers and position of a leg; `state.pt` in `out` holds them.

    Muon moves the matrices of Linears, AdamW all else; UserError without torch's Muon. Muon (Jordan
    2024) steps along the nearest orthogonal matrix to the momentum, so all directions of a weight
    move alike. Scaled to AdamW's root mean square (Liu et al. 2025, eq. 4) it takes AdamW's rate
    and weight decay.
    """

    def __init__(self, leg: Leg, out: Path, start: dict | None = None, device: str = "cpu"):
        if not hasattr(torch.optim, "Muon"):
            raise UserError(
                f"Pre-training needs torch.optim.Muon, this is torch {torch.__version__}; "
                "install torch 2.9 or newer."
            )
        torch.manual_seed(leg.seed)
        self.leg, self.out, self.device = leg, out, torch.device(device)
        self.begin, self.seen, self.minutes = 0, 0, 0.0
        self.sam = build_nano().train().to(self.device)
        matrices = [m.weight for m in self.sam.modules() if isinstance(m, nn.Linear)]
        known, how = set(map(id, matrices)), {"lr": leg.lr, "weight_decay": leg.weight_decay}
        rest = [p for p in self.sam.parameters() if id(p) not in known]
        muon = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **how)
        self.optimisers = torch.optim.AdamW(rest, **how), muon
        if (path := out / "state.pt").exists():
            state = torch.load(path, weights_only=True, map_location="cpu")
            self.sam.load_state_dict(state["sam"])
            for optimiser, its in zip(self.optimisers, state["optimiser"], strict=True):
                optimiser.load_state_dict(its)
            self.begin, self.seen, self.minutes = (state[k] for k in POSITION)
        elif start:
            self.sam.load_state_dict(start["tensors"])
            self.begin = self.seen = start["scenes"]
            self.minutes = start["minutes"]

    def save(self) -> None:
        """Write the state, whole or not at all."""
        states = [optimiser.state_dict() for optimiser in self.optimisers]
        state = {"sam": self.sam.state_dict(), "optimiser": states}
        state |= {k: getattr(self, k) for k in POSITION}
        write_atomic(self.out / "state.pt", partial(torch.save, state))

    def update(self, batch: dict[str, Tensor]) -> float:
        """One step; every so many it corrects clicks or boxes, in turn. UserError for a loss that
        is not finite."""
        turn, left = divmod(self.seen // self.leg.batch, self.leg.correct_every)
        corrected = None if left else ("clicks", "boxes")[turn % 2]
        batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type != "cpu"):
            loss = step_loss(self.sam, batch, corrected)
        rate = learning_rate(self.seen, self.leg, self.begin)
        if not torch.isfinite(loss):
            raise UserError(
                f"The loss is {loss.item()} after {self.seen} scenes at lr {rate:.2g}; the "
                "last saved state is kept. Lower --lr and start again."
            )
        self.sam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.sam.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
        self.seen += self.leg.batch
        return loss.item()


def run(
    leg: Leg,
    out: Path,
    start: dict | None = None,
    every: int = 200,
    workers: int = 1,
    device: str | torch.device = "cpu",
    command: str = "python -m naslora_core pretrain",
) -> Path:
    """Train one leg, logging to `out/log.jsonl`; the cooled weights are `out/cooled.pt`, and where
    they were made `out/provenance.json`. UserError where the weights have seen as many scenes.

    workers: processes that draw scenes; a GPU wants one for each core.
    """
    make_folder(out)
    trainer, cooled, log = Trainer(leg, out, start, device), out / "cooled.pt", out / "log.jsonl"
    left = trainer.seen + leg.batch <= leg.scenes
    if not left and not log.exists():
        raise UserError(
            f"A leg up to {leg.scenes} scenes has nothing to do: the weights have seen "
            f"{trainer.seen}; give --scenes a larger number."
        )
    if left:
        facts = json.dumps(provenance(command, trainer.device), indent=1)
        write_atomic(out / "provenance.json", facts + "\n")
        cooled.unlink(missing_ok=True)  # of a shorter leg
    losses, clock = [], time.monotonic()
    for batch in batches(leg, trainer.seen, trainer.sam.image_encoder.img_size, workers):
        losses.append(trainer.update(batch))
        if trainer.seen // leg.batch % every == 0 or trainer.seen + leg.batch > leg.scenes:
            trainer.minutes += (time.monotonic() - clock) / 60
            clock = time.monotonic()
            _report(trainer, losses, log)
            losses = []
    write_atomic(cooled, partial(torch.save, trainer.sam.state_dict()))
    return cooled


def _report(trainer: Trainer, losses: list[float], log: Path) -> None:
    """Save the state, and log where the leg is; now and then score it."""
    rate = learning_rate(trainer.seen, trainer.leg, trainer.begin)
    event = {"scenes": trainer.seen, "loss": round(float(np.mean(losses)), 4)}
    event |= {"minutes": round(trainer.minutes, 2), "lr": rate, "leg": trainer.leg.scenes}
    if trainer.seen // trainer.leg.batch % 1000 == 0:
        row = score(trainer.sam.eval(), scene_cases(60, VALIDATION_SEED))
        event |= {k: round(v, 4) for k, v in row.items()}
        trainer.sam.train()
    trainer.save()
    with log.open("a") as file:
        file.write(json.dumps(event) + "\n")
    print(json.dumps(event), flush=True)


def publish(out: Path) -> dict:
    """Write a leg's `sam_nano.safetensors` (fp16), its manifest and its curve into its folder.

    The manifest holds the table on the frozen evaluation scenes of the fp16 weights themselves.
    """
    for name in ("cooled.pt", "log.jsonl", "provenance.json"):
        if not (out / name).exists():
            raise UserError(f"{out / name} is not there; finish a leg: pretrain --out {out} ...")
    state = torch.load(out / "cooled.pt", weights_only=True, map_location="cpu")
    data = save({k: v.half().contiguous() for k, v in state.items()})
    sam = build_nano().eval()
    sam.load_state_dict({k: v.half().float() for k, v in state.items()})
    curve = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    earlier = json.loads((WEIGHTS / "sam_nano_curve.json").read_text())
    curve = [event for event in earlier if event["scenes"] < curve[0]["scenes"]] + curve
    card = {
        "name": "sam_nano",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "parameters": sum(p.numel() for p in sam.parameters()),
        "scenes_seen": curve[-1]["scenes"],
        "training_minutes": curve[-1]["minutes"],
        "licence": "Apache-2.0; trained on procedural scenes only, no photograph was used",
        "table": {"scenes": SCENE_COUNT, "seed": SCENE_SEED, **score(sam, scene_cases())},
        "provenance": json.loads((out / "provenance.json").read_text()),
    }
    write_atomic(out / "sam_nano.safetensors", data)
    write_atomic(out / "sam_nano.json", json.dumps(card, indent=1) + "\n")
    lines = ",\n".join(json.dumps(event) for event in curve)
    write_atomic(out / "sam_nano_curve.json", f"[\n{lines}\n]\n")
    return card


def published() -> dict:
    """Where a leg starts: the tensors of the packaged weights, and what they have cost so far."""
    facts = manifest()
    state = read_state(WEIGHTS / "sam_nano.safetensors", facts["sha256"])
    start = {"tensors": {k: v.float() for k, v in state.items()}}
    return start | {"scenes": facts["scenes_seen"], "minutes": facts["training_minutes"]}
