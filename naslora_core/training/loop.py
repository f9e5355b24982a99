"""The architecture vectors of a model while they are trained: entropy, what they say.

A vector that cells share is here once; a cell whose alpha does not move has none here.

One training run: the model, its optimiser, where it stands, and what one step does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from naslora_core.data.transforms import to_batch
from naslora_core.errors import UserError
from naslora_core.sam.checkpointing import checkpointed
from naslora_core.search import Cell, entropy
from naslora_core.search.schedule import Schedule, Stage
from naslora_core.training.distributed import average_gradients
from naslora_core.training.matching import matched_loss
from naslora_core.training.memory import out_of_memory


class Alphas:
    """Every trained arch_alpha `n` of a model, and the cells that read them."""

    def __init__(self, model: nn.Module):
        trained = model.trainable().items()
        self.parameters = [p for name, p in trained if name.endswith("arch_alpha")]
        own = {id(p) for p in self.parameters}
        cells = (m for m in model.modules() if isinstance(m, Cell))
        self.cells = [c for c in cells if id(c.arch_alpha) in own]

    def probabilities(self) -> list[Tensor]:
        """softmax(alpha) of every vector, in order, each `n`."""
        of = {id(c.arch_alpha): c for c in self.cells}
        return [of[id(p)].probabilities() for p in self.parameters]

    def entropy(self) -> Tensor:
        """Mean over the vectors: 1 uniform, 0 one-hot."""
        return torch.stack([entropy(p) for p in self.probabilities()]).mean()

    @torch.no_grad()
    def event(self) -> dict:
        """What an event tells: probabilities."""
        if not self.parameters:
            return {}
        return {"alpha": [p.tolist() for p in self.probabilities()]}


WARMUP = 0.05  # share of the steps over which the learning rate rises
BETAS = {"weights": (0.9, 0.999), "alpha": (0.5, 0.999)}


class TrainingRun:
    """Model, optimiser and position of one run; `train_step` is one step.

    The optimiser has two groups of one model, weights and alpha; one that does not move has no
    gradient, so AdamW leaves it as it is, bit for bit.
    """

    def __init__(
        self, model: nn.Module, samples: Sequence, schedule: Schedule, batch: int, seed: int,
        criterion, fabric, accumulate: int = 1, precision: str = "fp32", sparing: bool = False,
        augment: str = "flips",
    ):  # fmt: skip
        self.model, self.samples, self.schedule = model.to(fabric.device), samples, schedule
        self.batch, self.accumulate, self.seed = batch, accumulate, seed
        self.criterion, self.fabric = criterion, fabric
        self.precision, self.sparing, self.augment = precision, sparing, augment
        self.step, self.history, self.alphas = 0, [], Alphas(model)
        alphas = {id(p) for p in self.alphas.parameters}
        weights = [p for p in model.trainable().values() if id(p) not in alphas]
        groups = {"weights": weights, "alpha": self.alphas.parameters}
        self.groups = {kind: group for kind, group in groups.items() if group}
        self.optimiser = torch.optim.AdamW(
            [{"params": g, "kind": k, "betas": BETAS[k]} for k, g in self.groups.items()]
        )
        self._stepping = fabric.setup_optimizers(self.optimiser)

    @property
    def micro_batch(self) -> int:
        """Images that this process holds at once."""
        return self.batch // (self.accumulate * self.fabric.world_size)

    def check_same_step(self) -> None:
        """UserError where the processes stand at different steps, as on disks that they do not
        share."""
        steps = self.fabric.all_gather(torch.tensor(self.step, device=self.fabric.device))
        if len(found := set(steps.flatten().tolist())) > 1:
            raise UserError(
                f"The processes go on from different steps, {min(found)} and {max(found)}; "
                "expected one `out` for all: put it on a disk that every machine sees, or begin "
                "anew."
            )

    def remaining_steps(self) -> list[tuple[Stage, int]]:
        """Of every step from here on its stage, and its place in that."""
        return self.schedule.timeline[self.step :]

    def unfreeze(self) -> None:
        """Let every trained parameter have gradients again, as `adapt` left it."""
        for group in self.groups.values():
            for p in group:
                p.requires_grad_(True)

    def train_step(self, stage: Stage, done: int) -> dict:
        """One step: choose what moves, draw its images, move it; the event that tells of it."""
        moves, half = stage.moves_at(done)
        for kind, group in self.groups.items():
            for p in group:
                p.requires_grad_(kind in moves)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._gradients(stage, moves, half)
        self._move(stage)
        self.step += 1
        event = {"step": self.step, "stage": stage.name, "moved": "+".join(moves)}
        return event | {"loss": round(loss, 5)} | self.alphas.event()

    def _gradients(self, stage: Stage, moves: Sequence[str], half: str | None) -> float:
        """Backward over this process's images in `accumulate` parts; the mean loss of all."""
        chosen = batch_indices(len(self.samples), half, self.step, self.batch, self.seed)
        sharp = stage.entropy if "alpha" in moves else 0.0
        with self._noise():
            loss = self._backward(chosen[self.fabric.global_rank :: self.fabric.world_size], sharp)
        average_gradients(self.fabric, [p for k in moves for p in self.groups.get(k, ())])
        if self.fabric.world_size > 1:
            loss = self.fabric.all_reduce(loss, reduce_op="mean")
        if not torch.isfinite(loss):
            names = ", ".join(self.samples[i].name for i in chosen)
            raise UserError(
                f"The loss is {loss.item()} at step {self.step} (images {names}); the last saved "
                "state is kept. Lower lr, or look at these images."
            )
        return loss.item()

    @contextmanager
    def _noise(self) -> Iterator[None]:
        """Noise (Conv-LoRA's gate) is drawn by seed, step and process alone."""
        device = self.fabric.device
        with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
            torch.manual_seed(hash((self.seed, self.step, self.fabric.global_rank)) % 2**63)
            yield

    def _backward(self, chosen: Sequence[int], sharp: float) -> Tensor:
        total, parts = torch.zeros((), device=self.fabric.device), self.accumulate
        try:
            for i in range(parts):
                loss = self._loss(chosen[i::parts])
                if sharp:
                    loss = loss + sharp * self.alphas.entropy()
                self.fabric.backward(loss / parts)
                total += loss.detach() / parts
        except torch.OutOfMemoryError as error:
            how = self.precision, self.sparing, self.fabric.world_size
            raise out_of_memory(self.model, self.batch, parts, *how) from error
        return total

    def _loss(self, chosen: Sequence[int]) -> Tensor:
        """Task loss of some images, with what the method adds to it."""
        part = [self.samples[i] for i in chosen]
        keys = [(self.seed, self.step, i) for i in chosen]
        model, tile = self.model, None
        if model.tile:
            tile = model.tile, model.tile_objects
        how = model.image_size, keys, self.augment, model.resize, tile
        images, masks = to_batch(part, *how)
        encoder = getattr(getattr(self.model, "sam", None), "image_encoder", None)
        with self.fabric.autocast(), checkpointed(encoder, self.sparing):
            out, masks = self.model(images.to(self.fabric.device)), masks.to(self.fabric.device)
        if out.classes is None:
            return self.criterion(out.masks.float(), masks) + self.model.auxiliary_loss()
        return (
            matched_loss(out.low_res.float(), out.classes.float(), masks)
            + self.model.auxiliary_loss()
        )

    def _move(self, stage: Stage) -> None:
        """Learning rates and decays of now, gradients clipped a group, one step of AdamW."""
        self.fabric.strategy.precision.unscale_gradients(self.optimiser)
        for group in self.optimiser.param_groups:
            if group["kind"] == "alpha":
                group["lr"], group["weight_decay"] = stage.alpha_lr, stage.alpha_weight_decay
            else:
                group["lr"], group["weight_decay"] = stage.lr * self._slope(), stage.weight_decay
            torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
        self._stepping.step()

    def _slope(self) -> float:
        """Warm-up, then linear to zero at the last step."""
        total = self.schedule.steps
        return min(1, (self.step + 1) / (WARMUP * total), (total - self.step) / (0.9 * total))


def batch_indices(count: int, half: str | None, step: int, batch: int, seed: int) -> list[int]:
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
