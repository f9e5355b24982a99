"""Train an adapted model through the stages of a schedule; killed and resumed, it ends the same.

One image, forward and backward, is one pass; a step is `batch` passes, whether it moves the
weights or alpha, so methods with the same number of steps have the same budget.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn
from tqdm.auto import tqdm

from naslora_core.adapters import read_genotype
from naslora_core.data import check_samples, content
from naslora_core.data.tiles import draw_tile
from naslora_core.data.transforms import AUGMENTS, to_batch
from naslora_core.errors import UserError, known
from naslora_core.search.schedule import Schedule, budget, named_schedule
from naslora_core.training.distributed import single_process
from naslora_core.training.early_stopping import EarlyStopping
from naslora_core.training.embedding_cache import FeatureCache, cached, cut_of, named_cache
from naslora_core.training.loop import Alphas, TrainingRun
from naslora_core.training.losses import DEFAULT, named_loss
from naslora_core.training.memory import peak_mb
from naslora_core.training.run_folder import RunFolder

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class FitResult:
    """The trained model, what its cells chose (None where it has none), every event, and the
    seconds."""

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
    accumulate: int = 1,
    checkpointing: bool = False,
    early_stopping: EarlyStopping | None = None,
    augment: str = "flips",
    fabric: "Fabric | None" = None,
    cache: str | Path | FeatureCache | None = None,
) -> FitResult:
    """Train `model` (from `adapt`) on `data.train`; a method without alpha only moves weights.

    progress: a bar, and before a search what its steps can decide, in plain words.
    out: a folder for events, state and adapter files (`best` by `early_stopping`, and `last`); a
    run found there, begun with the same arguments, goes on where it stopped. loss: a name of
    `losses.LOSSES`; a matched head has its own and takes no other.
    precision: "fp32", or "bf16" and "fp16" for forward passes (the weights stay float32).
    accumulate: parts that a batch is cut into, one held at a time. checkpointing: keep the inputs
    of the encoder's blocks alone and compute the rest twice. augment: "flips", or "full", as in
    `to_batch`. fabric: from `devices.launch`, for several processes; it decides device and
    precision. cache: a folder for what blocks before the first adapted one answer, each image's
    computed once; the run ends the same (see `feature_cache`).
    Raises UserError for an unknown schedule, loss, precision or augment, a batch that cannot be
    cut, data with other classes than the model's, a cache that would keep nothing; with the step
    and the images' names when the loss is not finite; and with the knobs to turn when memory runs
    out.
    """
    _suits(model, data, early_stopping)
    model.class_names = tuple(data.classes)
    criterion = named_loss(loss, matched=hasattr(getattr(model, "head", None), "classify"))
    schedule = named_schedule(schedule, steps, lr, bool(Alphas(model).parameters))
    cache = named_cache(cache, known(augment, AUGMENTS, "augment is"))
    if cache:
        cut_of(model)
    fabric = fabric or single_process(next(model.parameters()).device, precision)
    _cuts(batch, accumulate, fabric.world_size)
    run = TrainingRun(
        model, data.train, schedule, batch, seed, criterion, fabric, accumulate, precision,
        checkpointing, augment,
    )  # fmt: skip
    half = "half" if cache and cache.half else None  # else a cache leaves the run as it is
    given = {"steps": steps, "loss": loss, "early_stopping": repr(early_stopping), "features": half}
    folder = RunFolder(out, given | _circumstances(run, data) if out else {})
    folder.restore(run)
    run.check_same_step()
    with cached(model, cache, fabric.world_size):
        _train(run, data, folder, progress and fabric.is_global_zero, on_event, early_stopping)
    folder.finish(run)
    seconds = run.history[-1]["seconds"] if run.history else 0.0
    return FitResult(model, _genotype(run, data, schedule, seed), run.history, seconds)


def _circumstances(run: TrainingRun, data) -> dict[str, object]:
    """What a run must have in common with the one that began its folder, besides what was given."""
    model = run.model
    return {
        "batch": run.batch,
        "seed": run.seed,
        "schedule": repr(run.schedule),
        "precision": run.precision,
        "accumulate": run.accumulate,
        "processes": run.fabric.world_size,
        "augment": run.augment,
        "resize": model.resize,
        **({"tile": [model.tile, model.tile_objects]} if model.tile else {}),
        "data": data.name,
        "content": content(data.train, data.val),
        "classes": list(data.classes),
        "method": repr(model.method),
        "base": getattr(model, "base_hash", None),  # a U-Net has none, and no head
        "head": type(getattr(model, "head", None)).__name__,
    }


def _suits(model: nn.Module, data, early_stopping) -> None:
    """UserError for what cannot be trained together: another model, data, other classes."""
    if not hasattr(model, "trainable"):
        raise UserError(
            f"A {type(model).__name__} has nothing to train; expected what `adapt` returns."
        )
    if not all(hasattr(data, part) for part in ("train", "val", "classes")):
        raise UserError(
            f"The data are {data!r}; expected a Dataset: from `folder`, `csv_table`, `coco`, or "
            "`open_data` with a path or a domain's name."
        )
    if not (early_stopping is None or isinstance(early_stopping, EarlyStopping)):
        raise UserError(
            f"early_stopping is {early_stopping!r}; expected EarlyStopping(every=...), or None."
        )
    for split in (data.train, data.val):
        check_samples(split, len(data.classes))
    if len(data.classes) != model.classes:
        raise UserError(
            f"{data.name} has {len(data.classes)} foreground classes, the model draws "
            f"{model.classes}; adapt with classes={len(data.classes)}."
        )


def _cuts(batch: int, accumulate: int, processes: int) -> None:
    if accumulate < 1 or batch < 1 or batch % (accumulate * processes):
        raise UserError(
            f"A batch of {batch} cannot be cut into {accumulate} equal part(s) on {processes} "
            f"process(es); take a batch that is a multiple of {max(accumulate, 1) * processes}."
        )


def _train(
    run: TrainingRun, data, folder: RunFolder, progress: bool, on_event, early_stopping
) -> None:
    """Every step that is left, each told to the folder and the listener."""
    schedule = run.schedule
    start = time.monotonic() - (run.history[-1]["seconds"] if run.history else 0)
    bar = tqdm(run.remaining_steps(), disable=not progress, initial=run.step, total=schedule.steps)
    if progress and run.alphas.parameters:
        bar.write(budget(schedule, len(run.alphas.parameters[0])))
    run.model.train()
    try:
        for stage, done in bar:
            if early_stopping and early_stopping.should_stop(run.history):
                break
            event = run.train_step(stage, done)
            event |= (
                early_stopping.validate(run.model, data, run.step, run.micro_batch)
                if early_stopping
                else {}
            )
            event["seconds"] = round(time.monotonic() - start, 3)
            memory = f"{peak_mb(run.fabric.device):.0f} MB"
            bar.set_postfix(stage=stage.name, loss=event["loss"], peak=memory, refresh=False)
            run.history.append(event)
            folder.write(run, event)
            if on_event and run.fabric.is_global_zero:
                on_event(event)
    finally:
        run.model.eval()
        run.unfreeze()


def _genotype(run: TrainingRun, data, schedule: Schedule, seed: int, images: int = 16):
    """Both readings on the first training images, as many at once as a step holds."""
    model, how = run.model, {"schedule": schedule.name, "data": data.name, "seed": seed}
    part = [data.train[i] for i in range(min(images, len(data.train)))]
    if model.tile:
        part = [draw_tile(sample, model.tile, (seed, i)) for i, sample in enumerate(part)]
    batch, _ = to_batch(part, model.image_size, resize=model.resize)
    return read_genotype(model, batch.to(run.fabric.device), run.micro_batch, **how)
