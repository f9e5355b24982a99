"""What `python -m naslora_core fit | evaluate | predict` does with your images."""

import argparse
import csv
import io
import json
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
from PIL import Image

from naslora_core.adapters import METHODS, adapt
from naslora_core.adapters.opening import open_model
from naslora_core.cli import literal
from naslora_core.data import Sample, open_data
from naslora_core.data.folder import ENDINGS
from naslora_core.data.reading import read_image
from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_core.profiles import profile
from naslora_core.sam import load_sam
from naslora_core.sam.registry import BUILDERS
from naslora_core.training.devices import known_device, launch
from naslora_core.training.evaluate import Scores, predict_one
from naslora_core.training.evaluate import evaluate as run_evaluate
from naslora_core.training.feature_cache import FeatureCache
from naslora_core.training.fit import fit as train
from naslora_core.training.table import mask_side, mean_ceiling
from naslora_core.training.watch import Watch, best, looks


def fit(arguments: argparse.Namespace) -> None:
    """Train, and leave `last.safetensors` and `best.safetensors` with the log in a folder."""
    a = arguments
    method = method_of(a.method, a.set)
    fabric = launch(a.devices, a.nodes, a.precision, a.accelerator)
    data = open_data(a.data, profile("laptop"), groups=a.groups)
    out = Path(a.out or f"build/fit/{data.name}-{a.model}-{a.method}-{a.seed}")
    sam, classes = load_sam(a.model, a.checkpoint), len(data.classes)
    model = adapt(sam, method, classes, a.seed, a.head, a.resize)
    watch = Watch(a.watch, a.patience) if a.watch else None
    cache = FeatureCache(a.cache, a.cache_gb, a.cache_half) if a.cache else None
    result = train(
        model, data, a.schedule, a.steps, a.batch, a.lr, a.seed, out, a.quiet is False,
        precision=a.precision, loss=a.loss, accumulate=a.accumulate,
        checkpointing=a.checkpointing, watch=watch, augment=a.augment, fabric=fabric,
        cache=cache,
    )  # fmt: skip
    if fabric.is_global_zero:
        _tell(result, a, out)


def _tell(result, a: argparse.Namespace, out: Path) -> None:
    seen, kept = looks(result.history), "last"
    if seen:
        kept = "best"
        print(f"Validation Dice: best {max(seen):.3f} (look {best(seen)} of {len(seen)}).")
    if result.genotype:
        write_atomic(out / "genotype.json", json.dumps(asdict(result.genotype), indent=1) + "\n")
        print(f"Chosen operators: {out / 'genotype.json'}")
    given = {"--groups": a.groups, "--checkpoint": a.checkpoint}
    same = "".join(f" {flag} {shlex.quote(value)}" for flag, value in given.items() if value)
    print(f"{result.seconds:.0f} s. Next: python -m naslora_core evaluate {a.data} {out / kept}"
          f".safetensors{same}")  # fmt: skip


def method_of(name: str, settings: list[str]):
    """The named method with NAME=VALUE settings put in; UserError for what it does not have."""
    if name not in METHODS:
        raise UserError(f"Unknown method {name!r}; choose from {', '.join(METHODS)}.")
    method, given = METHODS[name], {}
    known = {f.name for f in fields(method)}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or key not in known:
            raise UserError(
                f"--set {setting} is no setting of {name}; write NAME=VALUE with one of "
                f"{', '.join(sorted(known)) or 'none: it has no settings'}."
            )
        given[key] = literal(value)
        now = getattr(method, key)
        if isinstance(now, int | float) and not isinstance(given[key], int | float):
            raise UserError(f"--set {setting} is no number; {name}'s {key} is {now} by default.")
    return replace(method, **given)


def evaluate(arguments: argparse.Namespace) -> None:
    """Print the scores of one split; with `out`, keep a row an image and the worst as pictures."""
    a = arguments
    data = open_data(a.data, profile("laptop"), groups=a.groups)
    samples, classes = getattr(data, a.split), len(data.classes)
    prompt = "box" if a.file in BUILDERS else None
    model = load_sam(a.file, a.checkpoint) if prompt else open_model(a.file, a.checkpoint)
    model = model.to(known_device(a.device))
    scores = run_evaluate(model, samples, prompt, classes, a.metrics, a.batch)
    side = mask_side(model if prompt else model.sam)
    print(f"{data.name}, {a.split}, {len(samples)} images; ceiling of {side} x {side} masks: IoU "
          f"{mean_ceiling(samples, side):.3f}")  # fmt: skip
    for name, value in scores.mean.items():
        print(f"{name:>12}  {value:.3f}  mean of images")
    for name, value in scores.overall.items():
        print(f"{name:>12}  {value:.3f}  over all pixels")
    order = np.argsort(scores.dice)[: a.worst]
    print("worst: " + ", ".join(f"{scores.names[i]} {scores.dice[i]:.2f}" for i in order))
    if a.out:
        _keep(scores, samples, order, Path(a.out))


def _keep(scores: Scores, samples, order, out: Path) -> None:
    from naslora_core import viz  # what draws is not always installed where one trains

    out.mkdir(parents=True, exist_ok=True)
    columns, text = {"dice": scores.dice, "iou": scores.iou} | scores.more, io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", *columns])
    for i, name in enumerate(scores.names):
        rows.writerow([name, *(f"{values[i]:.4f}" for values in columns.values())])
    write_atomic(out / "scores.csv", text.getvalue())
    some = [samples[int(i)] for i in order]
    picture = viz.show_masks(
        [s.image for s in some], [scores.masks[i] for i in order], [s.mask for s in some],
        [scores.dice[i] for i in order], title=f"The {len(some)} lowest of {len(samples)} images",
    )  # fmt: skip
    picture.save(out / "worst.png")
    print(f"Wrote {out / 'scores.csv'} and {out / 'worst.png'}.")


def predict(arguments: argparse.Namespace) -> None:
    """Write a mask of every image at its own size: 0/255, or class numbers of several classes."""
    a = arguments
    files, out = list(pictures(a.images)), Path(a.out)
    _apart(files, out, a.overlay)
    model = open_model(a.file, a.checkpoint).to(known_device(a.device))
    many = getattr(model.head, "classes", 1) > 1
    out.mkdir(parents=True, exist_ok=True)
    for file in _shown(files):
        image = read_image(file)
        sample = Sample(image, np.zeros(image.shape[:2], np.uint8), file.stem)
        mask = predict_one(model, sample, box=a.box, click=a.click)
        _write(out / f"{file.stem}.png", mask if many else mask * 255)
        if a.overlay:
            _write(out / f"{file.stem}_overlay.png", overlaid(image, mask))
    print(f"Wrote {len(files)} mask(s) into {out}.")


def pictures(names: list[str]) -> Iterator[Path]:
    """The picture files that are named, and those of folders that are named."""
    for name in names:
        path = Path(name)
        found = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
        found = [f for f in found if f.suffix.lower() in ENDINGS and not f.name.startswith(".")]
        if not found:
            raise UserError(
                f"{name} is no picture and no folder of pictures; expected files ending in "
                f"{', '.join(ENDINGS)}."
            )
        yield from found


def _apart(files: list[Path], out: Path, overlay: bool) -> None:
    """Two pictures of one name, or a mask over an image, would lose one of them."""
    names = Counter(f.stem for f in files)
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise UserError(f"Several images are called {twice[0]}; predict them into two folders.")
    taken = sorted(n for n in names if overlay and f"{n}_overlay" in names)
    if taken:
        raise UserError(
            f"The overlay of {taken[0]} would be the mask of {taken[0]}_overlay; predict them into "
            "two folders."
        )
    if any(f.parent.resolve() == out.resolve() for f in files):
        raise UserError(f"{out} holds the images themselves; name another folder with --out.")


def _shown(files: list[Path]):
    from tqdm.auto import tqdm

    return tqdm(files, disable=len(files) < 10)


def overlaid(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with its mask in colour, uint8 `H W 3`."""
    from naslora_core.viz.masks import tint

    colour = tint(mask)
    share = colour[..., 3:]
    return (image * (1 - share) + 255 * colour[..., :3] * share).round().astype(np.uint8)


def _write(path: Path, values: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
