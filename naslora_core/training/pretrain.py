"""Pre-train `sam_nano` on endless scenes, as SAM is trained: clicks, boxes, corrections.

    python -m naslora_core pretrain --scenes 240000 --decay 0.1 --out build/pretrain

The learning rate is constant after a warm-up and falls to zero over the last `decay` of a leg, so
every leg ends in a usable checkpoint. The state before the decay is kept too: a new leg goes on
from there, or, on a new machine, from the committed weights. Sample i is a function of (seed, i):
a killed leg, started again, sees what it would have seen.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from naslora_core.data.scenes import scene
from naslora_core.sam.heads import run_decoder
from naslora_core.sam.nano import build_nano
from naslora_core.training.prompts import correction_click, loose_box, random_click
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


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """20 focal + dice for each mask, logits and soft truth `N M h w` -> `N M` (SAM, appendix A)."""
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    p = logits.sigmoid()
    focal = (p - truth).abs() ** 2 * cross
    dice = 1 - (2 * (p * truth).sum((-2, -1)) + 1) / (p.sum((-2, -1)) + truth.sum((-2, -1)) + 1)
    return 20 * focal.mean((-2, -1)) + dice


def soft_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU `N M` of thresholded masks: what the IoU head learns to predict."""
    a, b = logits > 0, truth > 0.5
    return (a & b).sum((-2, -1)) / (a | b).sum((-2, -1)).clamp(min=1)


class Prompted:
    """All four masks of a SAM for one prompt an object, and their loss."""

    def __init__(self, sam, embedding: Tensor):
        self.sam, self.embedding = sam, embedding  # N C h w, repeated for every object
        self.pe = sam.prompt_encoder.get_dense_pe()

    def __call__(self, points=None, boxes=None, mask=None):
        decoder = self.sam.mask_decoder
        sparse, dense = self.sam.prompt_encoder(points=points, boxes=boxes, masks=mask)
        mlps = dict(enumerate(decoder.output_hypernetworks_mlps))
        source, tokens = self.embedding + dense, decoder.mask_tokens.weight
        masks, iou, _ = run_decoder(decoder, source, self.pe, sparse, tokens, mlps)
        return masks.float(), iou.float()


def prompt_loss(masks: Tensor, iou: Tensor, truth: Tensor, ambiguous: bool) -> Tensor:
    """Loss of one round: an ambiguous click is judged by the best of its three masks alone."""
    each = mask_loss(masks, truth.expand_as(masks))  # N 4
    drawn = each[:, 1:].min(1).values if ambiguous else each[:, 0]
    return drawn.mean() + F.mse_loss(iou, soft_iou(masks.detach(), truth))


def step_loss(sam, batch: dict[str, Tensor], corrected: str | None) -> Tensor:
    """Clicks and boxes, then one round of corrections for one of the two kinds, or for none."""
    images, masks = batch["image"].float(), batch["masks"].float()  # B 3 S S, B M S S
    embedding = sam.image_encoder((images - sam.pixel_mean) / sam.pixel_std)
    side = 4 * embedding.shape[-1]
    low = F.interpolate(masks, (side, side), mode="area")
    total, clicks = 0.0, batch["clicks"].shape[1]
    for kind, part in (("clicks", slice(0, clicks)), ("boxes", slice(clicks, None))):
        prompts, truth = batch[kind].flatten(0, 1), low[:, part].flatten(0, 1)[:, None]
        predict = Prompted(sam, embedding.repeat_interleave(batch[kind].shape[1], 0))
        given = _as_prompt(kind, prompts)
        out, iou = predict(**given)
        total = total + prompt_loss(out, iou, truth, kind == "clicks")
        if kind == corrected:
            best = out[range(len(out)), _selected(out, iou, kind)][:, None].detach()
            given = _corrected(given, best, masks[:, part].flatten(0, 1), batch["key"])
            total = total + prompt_loss(*predict(**given, mask=best), truth, ambiguous=False)
    return total


def _as_prompt(kind: str, prompts: Tensor) -> dict:
    if kind == "boxes":
        return {"boxes": prompts}
    return {"points": (prompts[:, None], torch.ones(len(prompts), 1))}


def _selected(masks: Tensor, iou: Tensor, kind: str) -> Tensor:
    if kind == "boxes":
        return torch.zeros(len(masks), dtype=torch.long)
    return 1 + iou[:, 1:].argmax(1)


def _corrected(given: dict, logits: Tensor, truth: Tensor, keys: Tensor) -> dict:
    """The prompt with one more click where the mask is wrong."""
    rng = np.random.default_rng(keys.tolist())
    guess = F.interpolate(logits, truth.shape[-2:], mode="bilinear")[:, 0] > 0
    pairs = zip(guess.numpy(), truth.bool().numpy(), strict=True)
    clicks, labels = zip(*(correction_click(rng, g, t) for g, t in pairs), strict=True)
    more = torch.from_numpy(np.stack(clicks))[:, None], torch.tensor(labels)[:, None].float()
    if "points" in given:
        more = tuple(torch.cat(pair, 1) for pair in zip(given["points"], more, strict=True))
    return {**given, "points": more}


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
    """Model, optimiser and position of a leg; `state.pt` in `out` holds them before the decay."""

    def __init__(self, leg: Leg, out: Path, start: dict | None = None):
        torch.manual_seed(leg.seed)
        self.leg, self.out, self.seen = leg, out, 0  # scenes seen
        self.sam = build_nano().train()
        self.optimiser = torch.optim.AdamW(
            self.sam.parameters(), leg.lr, weight_decay=leg.weight_decay
        )
        self.bf16, self.minutes = bf16_pays(), 0.0
        self._restore(start)

    def _restore(self, start: dict | None) -> None:
        path = self.out / "state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.sam.load_state_dict(state["sam"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.seen, self.minutes = state["seen"], state["minutes"]
        elif start:
            self.sam.load_state_dict(start["tensors"])
            self.seen, self.minutes = start["scenes"], start["minutes"]

    def save(self) -> None:
        """Write the state aside, then rename it."""
        state = {"sam": self.sam.state_dict(), "optimiser": self.optimiser.state_dict()}
        aside = self.out / "state.tmp"
        torch.save({**state, "seen": self.seen, "minutes": self.minutes}, aside)
        aside.replace(self.out / "state.pt")

    def batches(self) -> Iterator[dict[str, Tensor]]:
        examples = Examples(self.leg, self.sam.image_encoder.img_size)
        order = range(self.seen, self.leg.scenes)
        return iter(
            DataLoader(examples, self.leg.batch, sampler=order, num_workers=1, drop_last=True)
        )

    def update(self, batch: dict[str, Tensor]) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.seen, self.leg)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
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

    def cooling(self) -> bool:
        return self.seen >= self.leg.scenes * (1 - self.leg.decay)


def run(leg: Leg, out: Path, start: dict | None = None, every: int = 200) -> Path:
    """Train one leg, logging to `out/log.jsonl`; the cooled weights are `out/cooled.pt`."""
    out.mkdir(parents=True, exist_ok=True)
    trainer, losses, clock = Trainer(leg, out, start), [], time.monotonic()
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
    torch.save(trainer.sam.state_dict(), out / "cooled.pt")
    return out / "cooled.pt"


def _report(trainer: Trainer, losses: list[float]) -> None:
    event = {"scenes": trainer.seen, "loss": round(float(np.mean(losses)), 4)}
    event |= {"minutes": round(trainer.minutes, 2), "lr": learning_rate(trainer.seen, trainer.leg)}
    if trainer.seen // trainer.leg.batch % 1000 == 0:
        row = score(trainer.sam.eval(), scene_cases(60, VALIDATION_SEED))
        event |= {k: round(v, 4) for k, v in row.items()}
        trainer.sam.train()
    if not trainer.cooling():
        trainer.save()
    with trainer.log.open("a") as log:
        log.write(json.dumps(event | {"leg": asdict(trainer.leg)["scenes"]}) + "\n")
    print(json.dumps(event), flush=True)
