"""One training run: the model, its optimiser, where it stands, and what one step does."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from naslora_core.errors import UserError
from naslora_core.sam.checkpointing import checkpointed
from naslora_core.search.schedule import Schedule, Stage
from naslora_core.training.data_loading import Batch, StepBatches, batch_indices
from naslora_core.training.devices import average_gradients


def alphas(model: nn.Module) -> list[nn.Parameter]:
    """Every trained arch_alpha `n` of a model; one that cells share is here once."""
    return [p for name, p in model.trainable().items() if name.endswith("arch_alpha")]


class TrainingRun:
    """Model, optimiser and position of one run; `train_step` is one step.

    The optimiser has two groups of one model, weights and alpha; one that does not move has no
    gradient, so AdamW leaves it as it is, bit for bit.
    """

    def __init__(
        self, model: nn.Module, samples: Sequence, schedule: Schedule, batch: int, seed: int,
        criterion, fabric, accumulate: int = 1, precision: str = "fp32",
        checkpointing: bool = False, augment: str = "flips",
    ):  # fmt: skip
        self.model, self.samples, self.schedule = model.to(fabric.device), samples, schedule
        self.batch, self.accumulate, self.seed = batch, accumulate, seed
        self.criterion, self.fabric = criterion, fabric
        self.precision, self.checkpointing, self.augment = precision, checkpointing, augment
        self.step, self.history, self.best = 0, [], None
        self.alphas = alphas(model)
        moved_by_alpha = {id(p) for p in self.alphas}
        weights = [p for p in model.trainable().values() if id(p) not in moved_by_alpha]
        groups = {"weights": weights, "alpha": self.alphas}
        self.groups = {kind: group for kind, group in groups.items() if group}
        betas = {"weights": schedule.betas, "alpha": schedule.alpha_betas}
        self.optimiser = torch.optim.AdamW(
            [{"params": g, "kind": kind, "betas": betas[kind]} for kind, g in self.groups.items()]
        )
        self._stepping = fabric.setup_optimizers(self.optimiser)

    @property
    def micro_batch(self) -> int:
        """Images that this process holds at once."""
        return self.batch // (self.accumulate * self.fabric.world_size)

    def tensors(self) -> dict[str, Tensor]:
        """What an adapter file would hold; of a U-Net every parameter."""
        adapted = hasattr(self.model, "base_hash")
        named = self.model.adapter_state_dict() if adapted else self.model.trainable()
        return {name: tensor.detach() for name, tensor in named.items()}

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Give the model the values that `tensors` of an equal run returned."""
        here = self.tensors()
        for name, value in tensors.items():
            here[name].copy_(value)

    def remaining_steps(self) -> list[tuple[Stage, int]]:
        """Of every step from here on its stage, and its place in that."""
        return self.schedule.timeline[self.step :]

    def batches(self, workers: int = 0) -> Iterator[Batch]:
        """The batches of the remaining steps; see `StepBatches`."""
        fabric, model = self.fabric, self.model
        batches = StepBatches(
            self.samples, model.image_size, self.batch, self.seed, self.augment, model.resize,
            (model.tile, model.tile_objects) if model.tile else None,
            (fabric.global_rank, fabric.world_size),
        )  # fmt: skip
        halves = (stage.moves_at(done)[1] for stage, done in self.remaining_steps())
        steps = list(enumerate(halves, self.step))
        return batches.load(steps, workers, pin=fabric.device.type == "cuda")

    def let_move(self, kinds) -> None:
        """Let the parameters of these groups alone have gradients."""
        for kind, group in self.groups.items():
            for p in group:
                p.requires_grad_(kind in kinds)

    def train_step(self, stage: Stage, done: int, images: Tensor, masks: Tensor) -> dict:
        """Move what the stage moves at its step `done` by one batch; the event of this step.

        The host waits for the device once, to read the loss and every alpha.
        """
        moves, half = stage.moves_at(done)
        self.let_move(moves)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._backward(images, masks)
        average_gradients(self.fabric, [p for k in moves for p in self.groups.get(k, ())])
        if self.fabric.world_size > 1:
            loss = self.fabric.all_reduce(loss, reduce_op="mean")
        self._update(stage)
        loss, facts = self._read(loss)
        if not math.isfinite(loss):
            raise self._not_finite(loss, half)
        self.step += 1
        event = {"step": self.step, "stage": stage.name, "moved": "+".join(moves)}
        return event | {"loss": round(loss, 5)} | facts

    def _read(self, loss: Tensor) -> tuple[float, dict]:
        """The loss, and what the event says of alpha: softmax(alpha) of every vector."""
        if not self.alphas:
            return loss.item(), {}
        p = torch.stack([alpha.detach() for alpha in self.alphas]).softmax(1)
        loss, *values = torch.cat([loss.view(1).to(p), p.flatten()]).tolist()
        n = p.shape[1]
        return loss, {"alpha": [values[i : i + n] for i in range(0, len(values), n)]}

    def _not_finite(self, loss: float, half: str | None) -> UserError:
        chosen = batch_indices(len(self.samples), half, self.step, self.batch, self.seed)
        names = ", ".join(self.samples[i].name for i in chosen)
        return UserError(
            f"The loss is {loss} at step {self.step} (images {names}); the last saved state is "
            "kept. Lower lr, or look at these images."
        )

    def _backward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Gradients of the whole batch's loss, whatever it is cut into; returns the loss."""
        n, here = self.accumulate, self.fabric.device
        parts = [images[i::n].to(here, non_blocking=True) for i in range(n)]
        labels = torch.cat([masks[i::n] for i in range(n)]).to(here, non_blocking=True)
        if n > 1:
            return self._backward_in_parts(parts, labels)
        loss = self.criterion(*self._outputs(parts[0]), labels) + self.model.auxiliary_loss()
        self.fabric.backward(loss)
        return loss.detach()

    def _backward_in_parts(self, parts: list[Tensor], labels: Tensor) -> Tensor:
        """The outputs of all parts come first, without gradients; then the loss's slope at each
        output goes back through its part. A part is computed twice, and none of the loss changes.
        """
        n = len(parts)
        with torch.no_grad():
            found = [self._outputs(part, i) for i, part in enumerate(parts)]
        whole = [torch.cat(each).requires_grad_() for each in zip(*found, strict=True)]
        total = self.criterion(*whole, labels)
        slopes = [s.chunk(n) for s in torch.autograd.grad(total, whole)]
        total = total.detach()
        for i, part in enumerate(parts):
            pairs = zip(self._outputs(part, i), slopes, strict=True)
            added = self.model.auxiliary_loss() / n
            self.fabric.backward(sum((o * slope[i]).sum() for o, slope in pairs) + added)
            total += added.detach() if isinstance(added, Tensor) else added
        return total

    def _outputs(self, images: Tensor, part: int = 0) -> tuple[Tensor, ...]:
        """What the criterion judges: masks, or of a matched head its tokens' masks and classes."""
        encoder = getattr(getattr(self.model, "sam", None), "image_encoder", None)
        with self._seeded(part), self.fabric.autocast(), checkpointed(encoder, self.checkpointing):
            out = self.model(images)
        if out.classes is None:
            return (out.masks.float(),)
        return out.low_res.float(), out.classes.float()

    @contextmanager
    def _seeded(self, part: int) -> Iterator[None]:
        """Noise (Conv-LoRA's gate) is a function of seed, step, process and part."""
        device = self.fabric.device
        key = (self.seed, self.step, self.fabric.global_rank, *([part] if part else []))
        with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
            torch.manual_seed(hash(key) % 2**63)
            yield

    def _update(self, stage: Stage) -> None:
        """Learning rates and decays of now, gradients clipped a group, one step of AdamW."""
        self.fabric.strategy.precision.unscale_gradients(self.optimiser)
        for group in self.optimiser.param_groups:
            if group["kind"] == "alpha":
                group["lr"], group["weight_decay"] = stage.alpha_lr, stage.alpha_weight_decay
            else:
                group["lr"] = stage.lr * self.schedule.lr_factor(self.step)
                group["weight_decay"] = stage.weight_decay
            if self.schedule.clip is not None:
                nn.utils.clip_grad_norm_(group["params"], self.schedule.clip)
        self._stepping.step()
