"""Pre-train `sam_nano` on endless scenes, as SAM is trained: clicks, boxes, corrections.

    python -m naslora_core pretrain --scenes 240000 --decay 0.1 --out build/pretrain
    python -m naslora_core pretrain --scenes 900000 --decay 1 --device cuda --workers 14 --batch 64

The learning rate is constant after a warm-up and falls to zero over the last `decay` of a leg, so
every leg ends in a usable checkpoint. A killed leg goes on from its state, as does a longer one; in
an empty folder a leg begins with the packaged weights. Sample i is a function of (seed, i):
a killed leg, started again, sees what it would have seen.
"""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from naslora_core.data.scenes import scene
from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_core.sam.nano import build_nano
from naslora_core.training.pretrain_loss import step_loss
from naslora_core.training.prompts import loose_box, random_click
from naslora_core.training.provenance import provenance
from naslora_core.training.table import scene_cases, score

VALIDATION_SEED = 555_001


@dataclass(frozen=True)
class Leg:
    """One leg: up to `scenes` in all (earlier legs counted), the last `decay` share cooling."""

    scenes: int
    decay: float = 0.1
    correct_from: int = 118_000  # scenes after which correction clicks join clicks and boxes
    batch: int = 16
    clicks: int = 4  # of a scene's masks, so many get a click
    boxes: int = 4
    lr: float = 6e-4
    weight_decay: float = 0.05
    warmup: int = 6_000  # scenes
    seed: int = 1

    def __post_init__(self):
        if not 0 < self.decay <= 1 or self.batch < 1 or self.scenes < 1:
            raise UserError(
                f"A leg of scenes={self.scenes}, batch={self.batch}, decay={self.decay} trains "
                "nothing; scenes and batch count from 1, decay is a share above 0, at most 1."
            )


class Examples(Dataset):
    """Example i: image `3 S S`, masks `M S S` of its objects, a click or a loose box for each."""

    def __init__(self, leg: Leg, size: int):
        self.leg, self.size = leg, size

    def __len__(self) -> int:
        return self.leg.scenes

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        it = scene(self.leg.seed, index, self.size)
        rng = np.random.default_rng([self.leg.seed, index, 4242])
        weight = it.masks.sum((1, 2)) ** 0.5  # large things a little more often
        count, clicks = self.leg.clicks + self.leg.boxes, self.leg.clicks
        chosen = it.masks[rng.choice(len(it.masks), count, p=weight / weight.sum())]
        return {
            "image": torch.from_numpy(it.image).permute(2, 0, 1),
            "masks": torch.from_numpy(chosen),
            "clicks": torch.from_numpy(np.stack([random_click(rng, m) for m in chosen[:clicks]])),
            "boxes": torch.from_numpy(np.stack([loose_box(rng, m) for m in chosen[clicks:]])),
            "key": torch.tensor(index),
        }


def learning_rate(seen: int, leg: Leg) -> float:
    """Warm-up, constant, then linear to zero over the last `decay` of the leg's scenes."""
    left = 1 - seen / leg.scenes
    return leg.lr * min(1, (seen + leg.batch) / leg.warmup, max(left, 0) / leg.decay)


def bf16_pays(size: int = 512, repeats: int = 20) -> bool:
    """Whether this processor multiplies bfloat16 matrices faster than float32."""

    def seconds(dtype) -> float:
        a = torch.randn(size, size, dtype=dtype)
        _ = a @ a
        start = time.perf_counter()
        for _ in range(repeats):
            _ = a @ a
        return time.perf_counter() - start

    return seconds(torch.bfloat16) < 0.8 * seconds(torch.float32)


class Trainer:
    """Model, optimiser and position of a leg; `state.pt` in `out` holds them.

    workers: processes that draw scenes; a GPU wants as many as there are cores.
    """

    def __init__(
        self, leg: Leg, out: Path, start: dict | None = None, device="cpu", workers: int = 1
    ):
        torch.manual_seed(leg.seed)
        self.leg, self.out, self.seen = leg, out, 0  # scenes seen
        self.device, self.workers = torch.device(device), workers
        self.sam = build_nano().train().to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.sam.parameters(), leg.lr, weight_decay=leg.weight_decay
        )
        self.bf16, self.minutes = self.device.type != "cpu" or bf16_pays(), 0.0
        self._restore(start)

    def _restore(self, start: dict | None) -> None:
        path = self.out / "state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True, map_location="cpu")
            self.sam.load_state_dict(state["sam"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.seen, self.minutes = state["seen"], state["minutes"]
        elif start:
            self.sam.load_state_dict(start["tensors"])
            self.seen, self.minutes = start["scenes"], start["minutes"]

    def save(self) -> None:
        """Write the state, whole or not at all."""
        state = {"sam": self.sam.state_dict(), "optimiser": self.optimiser.state_dict()}
        _write(self.out / "state.pt", state | {"seen": self.seen, "minutes": self.minutes})

    def batches(self) -> Iterator[dict[str, Tensor]]:
        examples = Examples(self.leg, self.sam.image_encoder.img_size)
        how = {"sampler": range(self.seen, self.leg.scenes), "num_workers": self.workers}
        how |= {"pin_memory": self.device.type == "cuda"}
        return iter(DataLoader(examples, self.leg.batch, drop_last=True, **how))

    def update(self, batch: dict[str, Tensor]) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.seen, self.leg)
        batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = step_loss(self.sam, batch, self._corrected())
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.sam.parameters(), 1.0)
        self.optimiser.step()
        self.seen += self.leg.batch
        return loss.item()

    def _corrected(self) -> str | None:
        if self.seen < self.leg.correct_from:
            return None
        return ("clicks", "boxes")[self.seen // self.leg.batch % 2]


def run(
    leg: Leg,
    out: Path,
    start: dict | None = None,
    every: int = 200,
    device="cpu",
    workers: int = 1,
    command: str = "python -m naslora_core pretrain",
) -> Path:
    """Train one leg, logging to `out/log.jsonl`; the cooled weights are `out/cooled.pt`, and where
    they were made `out/provenance.json`. UserError where the weights have seen as many scenes."""
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(leg, out, start, device, workers)
    if trainer.seen >= leg.scenes and not (out / "log.jsonl").exists():
        raise UserError(
            f"A leg up to {leg.scenes} scenes has nothing to do: the weights have seen "
            f"{trainer.seen}; give --scenes a larger number."
        )
    facts = json.dumps(provenance(command, device), indent=1)
    write_atomic(out / "provenance.json", facts + "\n")
    losses, clock = [], time.monotonic()
    trainer.log = out / "log.jsonl"
    for batch in trainer.batches():
        losses.append(trainer.update(batch))
        if trainer.seen // leg.batch % every == 0:
            trainer.minutes += (time.monotonic() - clock) / 60
            clock = time.monotonic()
            _report(trainer, losses)
            losses = []
    if losses:
        trainer.minutes += (time.monotonic() - clock) / 60
        _report(trainer, losses)
    _write(out / "cooled.pt", trainer.sam.state_dict())
    return out / "cooled.pt"


def _write(path: Path, state: dict) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(path, buffer.getvalue())


def _report(trainer: Trainer, losses: list[float]) -> None:
    event = {"scenes": trainer.seen, "loss": round(float(np.mean(losses)), 4)}
    event |= {"minutes": round(trainer.minutes, 2), "lr": learning_rate(trainer.seen, trainer.leg)}
    if trainer.seen // trainer.leg.batch % 1000 == 0:
        row = score(trainer.sam.eval(), scene_cases(60, VALIDATION_SEED))
        event |= {k: round(v, 4) for k, v in row.items()}
        trainer.sam.train()
    trainer.save()
    with trainer.log.open("a") as log:
        log.write(json.dumps(event | {"leg": asdict(trainer.leg)["scenes"]}) + "\n")
    print(json.dumps(event), flush=True)
