"""Train an adapted model through the stages of a schedule; killed and resumed, it ends the same.

One image, forward and backward, is one pass; a step is `batch` passes, whether it moves the
weights or alpha, so methods with the same number of steps have the same budget.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from naslora_core.adapters import read_genotype
from naslora_core.data.transforms import to_batch
from naslora_core.errors import UserError
from naslora_core.search.schedule import Schedule, budget, named_schedule
from naslora_core.training.alphas import Alphas
from naslora_core.training.losses import DEFAULT, named_loss
from naslora_core.training.matching import matched_loss
from naslora_core.training.state import RunFolder

PRECISIONS = ("fp32", "bf16")
WARMUP = 0.05  # share of the steps over which the learning rate rises


@dataclass(frozen=True)
class FitResult:
    """The trained model, what it chose (None without a search), every event, and the seconds."""

    model: nn.Module = field(repr=False)
    genotype: object | None
    history: list[dict] = field(repr=False)
    seconds: float


def fit(
    model: nn.Module,
    data,
    schedule: str | Schedule = "stage-wise",
    steps: int = 250,
    batch: int = 8,
    lr: float = 2e-3,
    seed: int = 0,
    out: str | Path | None = None,
    progress: bool = True,
    on_event: Callable[[dict], None] | None = None,
    precision: str = "fp32",
    loss: str = DEFAULT,
) -> FitResult:
    """Train `model` (from `adapt`) on `data.train`; a method without alpha only moves weights.

    progress: a bar, and before a search what its steps can decide, in plain words.
    out: a folder for events and state; a run found there, begun with the same arguments, goes on
    where it stopped. precision: "fp32" or "bf16" (forward passes under autocast; the weights stay
    float32). loss: a name of `losses.LOSSES`; a matched head has its own and takes no other.
    Raises UserError for an unknown schedule or loss, for data with other classes than the
    model's, and with the step and the images' names when the loss is not finite.
    """
    _suits(model, data, precision)
    schedule = named_schedule(schedule, steps, lr, bool(Alphas(model).parameters))
    arguments = {"steps": steps, "batch": batch, "seed": seed, "schedule": repr(schedule)}
    arguments |= {"precision": precision, "loss": loss}
    criterion = named_loss(loss, matched=hasattr(getattr(model, "head", None), "classify"))
    run = _Run(model, data.train, schedule, batch, seed, precision, criterion)
    folder = RunFolder(out, arguments | {"data": data.name, "method": repr(model.method)})
    folder.restore(run)
    _train(run, folder, progress, on_event)
    seconds = run.history[-1]["seconds"] if run.history else 0.0
    return FitResult(model, _genotype(model, data, schedule, seed), run.history, seconds)


def _suits(model: nn.Module, data, precision: str) -> None:
    if len(data.classes) != model.classes:
        raise UserError(
            f"{data.name} has {len(data.classes)} foreground classes, the model draws "
            f"{model.classes}; adapt with classes={len(data.classes)}."
        )
    if precision not in PRECISIONS:
        raise UserError(f"Unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}.")


def _train(run: "_Run", folder: RunFolder, progress: bool, on_event: Callable | None) -> None:
    """Every step that is left, each told to the folder and the listener."""
    schedule = run.schedule
    start = time.monotonic() - (run.history[-1]["seconds"] if run.history else 0)
    bar = tqdm(run.remaining(), disable=not progress, initial=run.step, total=schedule.steps)
    if progress and run.alphas.parameters:
        bar.write(budget(schedule, len(run.alphas.parameters[0])))
    run.model.train()
    for stage in bar:
        event = run.advance(stage) | {"seconds": round(time.monotonic() - start, 3)}
        bar.set_postfix(stage=stage.name, loss=event["loss"])
        run.history.append(event)
        folder.write(run, event)
        if on_event:
            on_event(event)
    run.model.eval()


class _Run:
    """Model, optimisers and position of one training run."""

    def __init__(self, model, samples: Sequence, schedule: Schedule, batch, seed, precision, loss):
        self.precision, self.loss = precision, loss
        self.model, self.samples, self.schedule = model, samples, schedule
        self.batch, self.seed, self.step, self.history = batch, seed, 0, []
        self.alphas = Alphas(model)
        alphas = {id(p) for p in self.alphas.parameters}
        weights = [p for p in model.trained().values() if id(p) not in alphas]
        self.groups = {"weights": weights, "alpha": self.alphas.parameters}
        first = schedule.stages[0]
        self.optimisers = {"weights": torch.optim.AdamW(self.groups["weights"], first.lr)}
        if self.groups["alpha"]:
            self.optimisers["alpha"] = torch.optim.AdamW(
                self.groups["alpha"], first.alpha_lr, betas=(0.5, 0.999)
            )

    def remaining(self) -> Iterator:
        """The stage of every step from here on."""
        stages = [stage for stage in self.schedule.stages for _ in range(stage.steps)]
        return iter(stages[self.step :])

    def advance(self, stage) -> dict:
        """One step: choose what moves, draw its images, move it; the event that tells of it."""
        moves, half = stage.turn(self.step)
        for kind, group in self.groups.items():
            for p in group:
                p.requires_grad_(kind in moves)
        self.alphas.heat(self.schedule.temperature(self.step))
        chosen = draw(len(self.samples), half, self.step, self.batch, self.seed)
        part = [self.samples[i] for i in chosen]
        keys = [(self.seed, self.step, i) for i in chosen]
        loss = self._loss(*to_batch(part, self.model.image_size, augment_keys=keys))
        if not torch.isfinite(loss):
            names = ", ".join(s.name for s in part)
            raise UserError(
                f"The loss is {loss.item()} at step {self.step} (images {names}); the last saved "
                "state is kept. Lower lr, or look at these images."
            )
        self._move(loss, moves, stage)
        self.step += 1
        event = {"step": self.step, "stage": stage.name, "moved": "+".join(moves)}
        return event | {"loss": round(loss.item(), 5)} | self.alphas.event()

    def _loss(self, images: Tensor, masks: Tensor) -> Tensor:
        device = next(self.model.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            out, masks = self.model(images.to(device)), masks.to(device)
        if out.classes is None:
            return self.loss(out.masks.float(), masks) + self.model.penalty()
        return matched_loss(out.low_res.float(), out.classes.float(), masks) + self.model.penalty()

    def _move(self, loss: Tensor, moves: Sequence[str], stage) -> None:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        if "alpha" in moves and stage.entropy:
            loss = loss + stage.entropy * self.alphas.entropy()
        loss.backward()
        for kind in moves:
            rate = stage.alpha_lr if kind == "alpha" else stage.lr * self._slope()
            decay = stage.alpha_weight_decay if kind == "alpha" else stage.weight_decay
            for group in self.optimisers[kind].param_groups:
                group["lr"], group["weight_decay"] = rate, decay
            torch.nn.utils.clip_grad_norm_(self.groups[kind], 1.0)
            self.optimisers[kind].step()

    def _slope(self) -> float:
        """Warm-up, then linear to zero at the last step."""
        total = self.schedule.steps
        return min(1, (self.step + 1) / (WARMUP * total), (total - self.step) / (0.9 * total))


def draw(count: int, half: str | None, step: int, batch: int, seed: int) -> list[int]:
    """Images of a step: the next `batch` of an endless row of shuffles keyed by (seed, epoch).

    half "A" or "B" keeps to one fixed half of the images (weights on A, alpha on B, in turn, so a
    half moves on at every second step); a single image is both halves.
    """
    pool = np.random.default_rng([seed, 1]).permutation(count)
    if half and count > 1:
        pool = pool[: (count + 1) // 2] if half == "A" else pool[(count + 1) // 2 :]
    turn, found = step // 2 if half else step, []
    for position in range(turn * batch, (turn + 1) * batch):
        epoch, place = divmod(position, len(pool))
        shuffle = np.random.default_rng([seed, 2, epoch]).permutation(len(pool))
        found.append(int(pool[shuffle[place]]))
    return found


def _genotype(model, data, schedule: Schedule, seed: int, images: int = 16):
    """Both readings on the first training images."""
    part = [data.train[i] for i in range(min(images, len(data.train)))]
    batch, _ = to_batch(part, model.image_size)
    device = next(model.parameters()).device
    return read_genotype(model, batch.to(device), schedule=schedule.name, data=data.name, seed=seed)
