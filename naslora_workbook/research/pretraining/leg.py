"""What a leg of pre-training shows: how many scenes, which prompts, at which learning rate.

Sample i is a function of (seed, i), so a leg that is killed and goes on sees what it would have
seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from naslora_core.errors import UserError
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
