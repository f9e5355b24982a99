"""What a leg of pre-training shows, and what it is trained on: clicks and boxes, then corrections.

Sample i is a function of (seed, i), so a leg that is killed and goes on sees what it would have
seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from naslora_core.errors import UserError
from naslora_core.sam.mask_head import run_decoder
from naslora_core.training.losses import soft_dice
from naslora_core.training.prompts import box_of, centre_click
from naslora_workbook.research.pretraining.scenes import scene


@dataclass(frozen=True)
class Leg:
    """One leg: up to `scenes` in all (earlier legs counted), the last `decay` share cooling."""

    scenes: int
    decay: float = 0.1
    correct_every: int = 4  # every so many steps a correction follows clicks or boxes, in turn
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
    """Example i: image `3 S S`, masks `M S S` of its objects, a click or a box for each."""

    def __init__(self, leg: Leg, size: int):
        self.leg, self.size = leg, size

    def __len__(self) -> int:
        return self.leg.scenes

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        it = scene(self.leg.seed, index, self.size)
        rng = np.random.default_rng([self.leg.seed, index, 4242])
        count, clicks = self.leg.clicks + self.leg.boxes, self.leg.clicks
        chosen = it.masks[rng.integers(len(it.masks), size=count)]
        return {
            "image": torch.from_numpy(it.image).permute(2, 0, 1),
            "masks": torch.from_numpy(chosen),
            "clicks": torch.from_numpy(np.stack([drawn_click(rng, m) for m in chosen[:clicks]])),
            "boxes": torch.from_numpy(np.stack([drawn_box(rng, m) for m in chosen[clicks:]])),
            "key": torch.tensor(index),
        }


def learning_rate(seen: int, leg: Leg, begin: int = 0) -> float:
    """Warm-up, constant, then linear to zero over the last `decay` of the leg.

    begin: scenes that the weights had seen when the leg began; it starts with a new optimiser.
    """
    left = (leg.scenes - seen) / max(1, leg.scenes - begin)
    return leg.lr * min(1, (seen - begin + leg.batch) / leg.warmup, max(left, 0) / leg.decay)


def batches(leg: Leg, seen: int, size: int, workers: int = 1) -> Iterator[dict]:
    """Every whole batch after the first `seen` scenes; workers: processes that draw them."""
    rest = range(seen, seen + (leg.scenes - seen) // leg.batch * leg.batch)
    how = {"num_workers": workers, "pin_memory": torch.cuda.is_available()}
    return iter(DataLoader(Examples(leg, size), leg.batch, sampler=rest, **how))


def random_click(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """x, y of a uniformly random pixel of a mask."""
    where = np.flatnonzero(mask)
    y, x = divmod(where[rng.integers(len(where))], mask.shape[1])
    return np.array([x, y], np.float32)


def drawn_box(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """As people and benchmarks draw: half of the boxes tight, of the others every side moved by a
    normal error of 5 % of the box (at most 20 pixels)."""
    box = box_of(mask)
    if rng.random() < 0.5:
        return box
    side = np.tile(box[2:] - box[:2] + 1, 2)
    return box + np.clip(rng.normal(0, 0.05, 4) * side, -20, 20).astype(np.float32)


def drawn_click(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """As people click: half of the clicks in the middle of the mask, half anywhere on it."""
    return centre_click(mask) if rng.random() < 0.5 else random_click(rng, mask)


def correction_click(rng: np.random.Generator, guess: np.ndarray, truth: np.ndarray):
    """A random pixel where guess and truth differ, and its label (1: missed, 0: too much)."""
    wrong = guess != truth
    click = random_click(rng, wrong if wrong.any() else truth)
    x, y = click.astype(int)
    return click, int(truth[y, x])


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """20 focal + dice for each mask, logits and soft truth `N M h w` -> `N M` (SAM, appendix A)."""
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    p = logits.sigmoid()
    focal = (p - truth).abs() ** 2 * cross
    return 20 * focal.mean((-2, -1)) + 1 - soft_dice(p, truth, (-2, -1))


def soft_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU `N M` of thresholded masks: what the IoU head learns to predict."""
    a, b = logits > 0, truth > 0.5
    return (a & b).sum((-2, -1)) / (a | b).sum((-2, -1)).clamp(min=1)


def prompted(sam, embedding: Tensor, points=None, boxes=None, mask=None) -> tuple[Tensor, Tensor]:
    """All four masks of a SAM, and their predicted IoU, for one prompt an object.

    embedding: `N C h w`, repeated for every object.
    """
    decoder, pe = sam.mask_decoder, sam.prompt_encoder.get_dense_pe()
    sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=mask)
    mlps = dict(enumerate(decoder.output_hypernetworks_mlps))
    tokens = decoder.mask_tokens.weight
    masks, iou, _ = run_decoder(decoder, embedding + dense, pe, sparse, tokens, mlps)
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
        predict = partial(prompted, sam, embedding.repeat_interleave(batch[kind].shape[1], 0))
        given = {"boxes": prompts}
        if kind == "clicks":
            given = {"points": (prompts[:, None], prompts.new_ones(len(prompts), 1))}
        out, iou = predict(**given)
        total = total + prompt_loss(out, iou, truth, kind == "clicks")
        if kind == corrected:
            # of a click's three masks the most trusted one, of a box's masks the first
            best = 1 + iou[:, 1:].argmax(1) if kind == "clicks" else torch.zeros(len(out)).long()
            drawn = out[range(len(out)), best][:, None].detach()
            given = _corrected(given, drawn, masks[:, part].flatten(0, 1), batch["key"])
            total = total + prompt_loss(*predict(**given, mask=drawn), truth, ambiguous=False)
    return total


def _corrected(given: dict, logits: Tensor, truth: Tensor, keys: Tensor) -> dict:
    """The prompt with one more click where the mask is wrong; a scene's key draws its clicks."""
    each = len(truth) // len(keys)
    rngs = [rng for rng in map(np.random.default_rng, keys.tolist()) for _ in range(each)]
    guess = F.interpolate(logits, truth.shape[-2:], mode="bilinear")[:, 0] > 0
    cases = zip(rngs, guess.cpu().numpy(), truth.bool().cpu().numpy(), strict=True)
    clicks, labels = zip(*(correction_click(*case) for case in cases), strict=True)
    more = torch.from_numpy(np.stack(clicks))[:, None], torch.tensor(labels)[:, None].float()
    more = tuple(part.to(truth.device) for part in more)
    if "points" in given:
        more = tuple(torch.cat(pair, 1) for pair in zip(given["points"], more, strict=True))
    return {**given, "points": more}
