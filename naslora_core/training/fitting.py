"""Train an adapted model through the stages of a schedule; killed and resumed, it ends the same.

One image, forward and backward, is one pass; a step is `batch` passes, whether it moves the
weights or alpha, so methods with the same number of steps have the same budget.
"""

import inspect
import sys
import time
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from numbers import Real
from pathlib import Path

from torch import nn

from naslora_core.adapters import read_genotype
from naslora_core.data import check_samples, content
from naslora_core.data.dataset import require_samples
from naslora_core.data.tiles import draw_tile
from naslora_core.data.transforms import AUGMENTS, to_batch
from naslora_core.errors import fault, known, number
from naslora_core.progress import progress as shown
from naslora_core.search import Genotype
from naslora_core.search.schedule import Schedule, Stage, budget, named_schedule
from naslora_core.training.data_loading import default_workers
from naslora_core.training.devices import naming_the_remedy, peak_mb, single_process
from naslora_core.training.early_stopping import EarlyStopping, is_best
from naslora_core.training.embedding_cache import cached_embeddings, check_cacheable
from naslora_core.training.loop import TrainingRun, alphas
from naslora_core.training.losses import DEFAULT, named_loss
from naslora_core.training.run_folder import RunFolder

TOKENS = 1024  # of an image encoder, on which a cell is read: 16 images of sam_nano


@dataclass(frozen=True)
class FitResult:
    """The trained model (the best by validation where there was one, else the last), what its
    cells chose (None where it has none), every event, and the seconds."""

    model: nn.Module = field(repr=False)
    genotype: Genotype | None
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
    fabric=None,
    cache: str | Path | None = None,
    workers: int | None = None,
    save_every_seconds: float = 30.0,
    genotype_images: int | None = None,
) -> FitResult:
    """Train `model` (from `adapt`) on `data.train`; a method without alpha only moves weights.

    progress: a bar, and before a search what its steps can decide, in plain words.
    out: a folder for events, state and adapter files (`best` by `early_stopping`, and `last`); a
    run found there, begun with the same settings, goes on where it stopped. loss: a name of
    `losses.LOSSES`; a matched head has its own and takes no other.
    precision: "fp32", or "bf16" and "fp16" for forward passes (the weights stay float32).
    accumulate: parts that a batch is cut into, one held at a time: the same loss and gradients for
    one more forward pass (what a method adds to the loss is a mean over parts). checkpointing: keep
    the inputs of the encoder's blocks alone and compute the rest twice. augment: "flips", or
    "full", as in `to_batch`. fabric: from `devices.launch`, for several processes; it decides
    device and precision, and Dice is then of each process's images. cache: a folder for the
    embeddings of a frozen encoder. workers: processes that prepare batches, None for
    `default_workers`; the run is the same with any number. save_every_seconds: between two saved
    states, see `RunFolder`. genotype_images: on which the cells are read at the end, None for as
    many as give 1,024 tokens (at least 2), 0 for no reading.
    Raises UserError for what cannot be trained together, for a folder of another run, for a loss
    that is not finite (with the images' names), and where memory runs out (with what to change).
    """
    _check_model_and_data(model, data, early_stopping)
    known(augment, AUGMENTS, "augment is")
    if cache:
        check_cacheable(model, augment)
    fabric = fabric or single_process(next(model.parameters()).device, precision)
    others = steps, seed, workers or 0, genotype_images or 0
    _check_numbers(lr, batch, accumulate, fabric.world_size, *others)
    criterion = named_loss(loss, matched=hasattr(getattr(model, "head", None), "classify"))
    schedule = named_schedule(schedule, steps, lr, bool(alphas(model)))
    run = TrainingRun(
        model, data.train, schedule, batch, seed, criterion, fabric, accumulate, precision,
        checkpointing, augment,
    )  # fmt: skip
    model.class_names = tuple(data.classes)
    stopping = early_stopping and asdict(early_stopping)
    given = {"steps": steps, "loss": loss, "early_stopping": stopping}
    settings = given | _circumstances(run, data) if out else {}
    folder = RunFolder(out, settings, _defaults(model.method), fabric, save_every_seconds)
    show = progress and fabric.is_global_zero
    try:
        folder.restore(run)
        with cached_embeddings(model, cache):
            _train(run, data, folder, show, on_event, early_stopping, workers)
        folder.finish(run)
    finally:
        folder.close()
    if run.best is not None:
        run.load_tensors(run.best)
    seconds = run.history[-1]["seconds"] if run.history else 0.0
    return FitResult(model, _genotype(run, data, genotype_images, show), run.history, seconds)


def _check_model_and_data(model: nn.Module, data, early_stopping) -> None:
    """UserError for another model, no Dataset, damaged samples, or other classes."""
    if not hasattr(model, "trainable"):
        raise fault(f"A {type(model).__name__}", "trains nothing", "what `adapt` gives", "give it")
    if not all(hasattr(data, part) for part in ("train", "val", "classes")):
        raise fault("The data", f"are {data!r:.60}", "a Dataset", "make one by `open_data`")
    require_samples(data.train)
    if not len(data.train):
        raise fault(data.name, "has no image to train on", "one or more in train", "add some")
    if not (early_stopping is None or isinstance(early_stopping, EarlyStopping)):
        expected = "EarlyStopping(every=...), or None"
        raise fault("early_stopping", f"is {early_stopping!r}", expected, "give one of them")
    for split in (data.train, data.val):
        check_samples(split, len(data.classes))
    if (count := len(data.classes)) != model.classes:
        given = f"has {count} foreground classes, the model draws {model.classes}"
        raise fault(data.name, given, "as many", f"adapt with classes={count}")


def _check_numbers(lr: float, batch: int, accumulate: int, processes: int, *others: int) -> None:
    """UserError for what is no number of its kind, or below 0, and for a batch of uneven parts."""
    number("lr", lr, 0, kind=Real)
    parts = number("accumulate", accumulate) * processes
    for name, value in zip(("steps", "seed", "workers", "genotype_images"), others, strict=True):
        number(name, value, 0)
    if number("batch", batch) % parts:
        given = f"cannot be cut into {accumulate} part(s) on {processes} process(es)"
        raise fault(f"A batch of {batch}", given, f"a multiple of {parts}", "change one of them")


def _circumstances(run: TrainingRun, data) -> dict[str, object]:
    """What a run must have in common with the one that began its folder, besides what was given."""
    model, method = run.model, run.model.method
    own = asdict(method) if is_dataclass(method) else {"settings": str(method)}  # as in a lesson
    given = ("batch", "seed", "precision", "accumulate", "augment")
    return {name: getattr(run, name) for name in given} | {
        "schedule": asdict(run.schedule),
        "processes": run.fabric.world_size,
        "resize": model.resize,
        "tile": [model.tile, model.tile_objects] if model.tile else None,
        "data": data.name,
        "content": content(data.train, data.val),
        "classes": list(data.classes),
        "method": {"name": type(method).__name__} | own,
        "base": getattr(model, "base_hash", None),  # a U-Net has none, and no head
        "head": type(getattr(model, "head", None)).__name__,
    }


def _defaults(method) -> dict:
    """What a setting is in a run.json of before there was that setting."""

    def usual(of) -> dict:
        its = fields(of) if is_dataclass(of) else ()
        return {f.name: f.default for f in its if f.default is not MISSING}

    given = inspect.signature(fit).parameters.values()
    plain = {p.name: p.default for p in given if isinstance(p.default, str | int | float)}
    nested = {"method": usual(method), "early_stopping": usual(EarlyStopping)}
    return plain | nested | {"schedule": usual(Schedule) | {"stages": usual(Stage)}}


def _train(
    run: TrainingRun, data, folder: RunFolder, show: bool, on_event, early_stopping, workers
) -> None:
    """Every step that is left; its event goes to the folder and to the listener."""
    start = time.monotonic() - (run.history[-1]["seconds"] if run.history else 0)
    if show and run.alphas:
        print(budget(run.schedule, len(run.alphas[0])))
    bar = shown(run.remaining_steps(), "fit", run.schedule.steps, run.step, quiet=not show)
    batches = run.batches(default_workers(run.fabric.device) if workers is None else workers)
    run.model.train()
    try:
        for stage, done in bar:
            if early_stopping and early_stopping.should_stop(run.history):
                break
            event = _step(run, data, stage, done, batches, early_stopping)
            event["seconds"] = round(time.monotonic() - start, 3)
            memory = f"{peak_mb(run.fabric.device):.0f} MB"
            bar.set_postfix(stage=stage.name, loss=event["loss"], peak=memory, refresh=False)
            run.history.append(event)
            if best := is_best(run.history):
                run.best = {name: t.cpu().clone() for name, t in run.tensors().items()}
            folder.write(run, event, best)
            if on_event and run.fabric.is_global_zero:
                on_event(event)
    finally:
        batches.close()
        run.model.eval()
        run.let_move(run.groups)  # as `adapt` left it


def _step(run: TrainingRun, data, stage: Stage, done: int, batches, early_stopping) -> dict:
    """The event of one step, with its validation where there is one."""
    held = run.micro_batch, run.micro_batch * run.accumulate
    with naming_the_remedy(run.model, *held, run.precision, run.checkpointing):
        event = run.train_step(stage, done, *next(batches))
        if early_stopping:
            last = run.step == run.schedule.steps
            event |= early_stopping.validate(run.model, data, run.step, run.micro_batch, last)
    return event


def _genotype(run: TrainingRun, data, images: int | None, show: bool) -> Genotype | None:
    """Both readings on the first training images, as many at once as a step holds."""
    model = run.model
    if images is None:
        images = min(16, max(2, TOKENS // (model.image_size // 16) ** 2))
    if not images or not hasattr(model.method, "operators"):
        return None
    part = [data.train[i] for i in range(min(images, len(data.train)))]
    if show:
        print(f"Reading the operators of every block on {len(part)} image(s).", file=sys.stderr)
    if model.tile:
        part = [draw_tile(s, model.tile, (run.seed, i)) for i, s in enumerate(part)]
    batch, _ = to_batch(part, model.image_size, resize=model.resize)
    moves = [stage.moves_at(done) for stage in run.schedule.stages for done in (0, 1)]
    only_half_b = {half for kinds, half in moves if "alpha" in kinds} == {"B"}
    return read_genotype(
        model, batch.to(run.fabric.device), run.micro_batch, schedule=run.schedule.name,
        data=data.name, seed=run.seed, split="train, half B" if only_half_b else "train",
    )  # fmt: skip
