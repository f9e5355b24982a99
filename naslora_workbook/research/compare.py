"""Compares methods at equal passes, paired by seed. Every run is one JSON file.

    python -m naslora_core compare my_images --methods decoder_only lora nas_lora --seeds 0 1 2

A grid that was killed goes on where it stopped, so it may grow over days. Learning rates are tried
first, on validation images and with a seed of their own (`learning_rate_selection`). The method
"base_unprompted" trains nothing: it is the base without a prompt, and one seed is enough.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from naslora_core.adapters import DecoderOnly, adapt
from naslora_core.data import content
from naslora_core.errors import UserError, known
from naslora_core.files import make_folder, write_atomic
from naslora_core.sam import Segmenter
from naslora_core.sam.checkpoints import base_of
from naslora_core.training.ceilings import Grid, grid_of, mask_side, mean_ceiling, shrunk_iou
from naslora_core.training.devices import peak_mb
from naslora_core.training.early_stopping import VALIDATION_DICE, EarlyStopping
from naslora_core.training.evaluation import Scores, evaluate
from naslora_core.training.fitting import fit
from naslora_workbook.research.learning_rate_selection import rate_of
from naslora_workbook.research.methods import METHODS, OPERATOR_SETS
from naslora_workbook.research.provenance import provenance
from naslora_workbook.research.unet import UNet, width_for
from naslora_workbook.research.variants import VARIANTS
from naslora_workbook.results import records as results

RANDOM = "random_operator"  # a single_X of VARIANTS, drawn by the seed
UNPROMPTED = "base_unprompted"
KNOWN = (UNPROMPTED, *METHODS, *VARIANTS, RANDOM, "unet")
LOOKED_AT = 24  # validation images of a look


@dataclass(frozen=True)
class Setting:
    """What all runs of a comparison share; looks: steps between two at validation, 0 for none;
    tile, head: as for `adapt`."""

    steps: int = 250
    batch: int = 8
    lr: float = 2e-3
    schedule: str = "stage-wise"
    split: str = "test"
    precision: str = "fp32"
    looks: int = 0
    tile: int | None = None
    head: str = "plain"


def compare(
    sam,
    data,
    methods: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    setting: Setting,
    command: str,
    rates: Mapping[str, float] | None = None,
    facts: Mapping[str, str] | None = None,
) -> list[dict]:
    """Run what is missing, return every record; the box-prompted base is a run of its own.

    rates: learning rates by method, instead of the setting's; facts: more for every record. Runs
    are on the device of `sam`. Raises UserError for an unknown method or one without a rate, and
    for a record that was made otherwise than this run would be.
    """
    named = [known(m, KNOWN, "Unknown method") for m in methods]
    its_rate = {m: rate_of(m, rates, setting.lr) for m in named if m != UNPROMPTED}
    make_folder(out)
    read = dict.fromkeys(("train", "val", setting.split))
    digest = cache(lambda: content(*(getattr(data, split) for split in read)))
    base, device = base_of(sam), next(sam.parameters()).device
    samples, records = getattr(data, setting.split), []
    names, reach = [sample.name for sample in samples], cache(partial(_reach, samples))
    for method, seed in [("base_boxed", 0), *((m, s) for s in seeds for m in methods)]:
        its = replace(setting, lr=its_rate.get(method, setting.lr))
        job = {"data": data.name, "method": method, "seed": seed, "setting": asdict(its)}
        path = out / file_of(job)
        if not path.exists():
            record = run(sam, data, method, seed, its, reach) | {"base": base, "content": digest()}
            record |= {"provenance": provenance(command, device)} | (facts or {})
            write_atomic(path, json.dumps(record, indent=1) + "\n")
        record = json.loads(path.read_text())
        _require_same(path, record, its, base, names, digest)
        records.append(record)
        print(line(record), flush=True)
    return records


def file_of(record: Mapping) -> str:
    """The name of a run's file: what tells it from the others of its grid."""
    s, method = record["setting"], record["method"]
    parts = [record["data"], s["split"], method]
    if method != "base_boxed":
        parts.append(f"{s['lr']:g}")
        parts += [f"tile{s['tile']}"] if s.get("tile") else []
        parts += [s["head"]] if s.get("head", "plain") != "plain" else []
    return "-".join([*parts, f"{record['seed']}.json"])


def _method(name: str, seed: int):
    """The adapter of a name, None for those that are none."""
    if name == RANDOM:
        drawn = np.random.default_rng(seed).choice(OPERATOR_SETS["linear"])
        name = f"single_{drawn}"
    return (METHODS | VARIANTS).get(name)


def _require_same(path: Path, record: dict, setting: Setting, base: str, names, digest) -> None:
    """UserError where the record of `path` was made otherwise than this run would be: on another
    base, with another setting, scored on other names, or of other pictures or masks.

    digest: of all that is read (`content`); computed only for a record that holds one.
    """
    made, asked = asdict(Setting(**record["setting"])), asdict(setting)
    method = _method(record["method"], record["seed"])
    if method and "adapter" in record:
        made["adapter"] = _usual(method) | record["adapter"]
        asked["adapter"] = adapter_settings(method)
    if (made_on := record.get("base", "an unnamed base")) != base:
        fault = f"was made on {made_on}, this run is on {base}"
    elif list(record["images"]) != names:
        first, here = (next(iter(images), "") for images in (record["images"], names))
        fault = f"holds other images than this data (first {first}, here {here})"
    elif "content" in record and record["content"] != digest():
        fault = (
            "was made of other pictures or masks than this data holds now, in a split that it "
            "trained on or scored"
        )
    elif record["method"] != "base_boxed" and made != asked:
        fault = f"was made with {made}, this run asks for {asked}"
    else:
        return
    raise UserError(f"{path} {fault}; take another folder.")


def adapter_settings(method) -> dict[str, object]:
    """A method as JSON holds it: the name of its class, then its settings."""
    return json.loads(json.dumps({"name": type(method).__name__} | asdict(method)))


def _usual(method) -> dict[str, object]:
    """Defaults of all fields: a record holds none that its method has had only since."""
    defaults = {f.name: f.default for f in fields(method) if f.default is not MISSING}
    return json.loads(json.dumps(defaults))


def run(sam, data, method: str, seed: int, setting: Setting, reach: Callable) -> dict:
    """Train and score one method with one seed; the record without its provenance.

    reach: a grid -> what masks of it can reach on these images.
    """
    samples, classes = getattr(data, setting.split), len(data.classes)
    record = {"data": data.name, "method": method, "seed": seed, "setting": asdict(setting)}
    if method in ("base_boxed", UNPROMPTED):
        prompted = (sam, samples, "box") if method == "base_boxed" else (Segmenter(sam), samples)
        return record | _scored(evaluate(*prompted, classes=classes), reach(grid_of(sam)))
    model, s = _model(sam, method, classes, seed, setting), setting
    early_stopping = EarlyStopping(s.looks, images=LOOKED_AT) if s.looks else None
    how = {"precision": s.precision, "early_stopping": early_stopping}
    result = fit(model, data, s.schedule, s.steps, s.batch, s.lr, seed, **how)
    record |= {
        "adapter": adapter_settings(model.method),
        "trained_parameters": sum(p.numel() for p in model.trainable().values()),
        "training_seconds": round(result.seconds, 1),
    }
    if result.genotype:
        record["genotype"] = asdict(result.genotype)
    if early_stopping:
        looked = [e for e in result.history if VALIDATION_DICE in e]
        record["looks"] = [[e["step"], e[VALIDATION_DICE], e["seconds"]] for e in looked]
    scores = evaluate(model, samples, None, classes, batch=s.batch)
    return record | _scored(scores, reach(grid_of(model)))


def _model(sam, method: str, classes: int, seed: int, setting: Setting):
    if method != "unet":
        how = {"head": setting.head, "tile": setting.tile}
        return adapt(sam, _method(method, seed), classes, seed, **how)
    if setting.tile or setting.head != "plain":
        raise UserError("A unet has whole images and a head of its own; leave tile and head out.")
    return small_unet(sam, classes, seed)


def small_unet(sam, classes: int, seed: int) -> UNet:
    """A U-Net with as many parameters as the trained decoder has."""
    decoder = adapt(sam, DecoderOnly(), classes).trainable().values()
    width = width_for(sum(p.numel() for p in decoder), classes)
    device = next(sam.parameters()).device
    return UNet(sam.image_encoder.img_size, classes, width, seed).to(device)


def _scored(scores: Scores, reach: Mapping) -> dict:
    each = zip(scores.names, scores.dice, scores.iou, strict=True)
    found = {"mean": {k: round(v, 4) for k, v in scores.mean.items()}} | reach
    return found | {"images": {n: [round(float(d), 4), round(float(i), 4)] for n, d, i in each}}


def _reach(samples, grid: Grid) -> dict:
    """What masks of a grid can reach on these images, whatever drew them."""
    shown = [s.mask == c for s in samples for c in np.unique(s.mask[s.mask > 0])]
    shrunk = [shrunk_iou(mask, grid.side, grid.resize == "square") for mask in shown]
    return {
        "ceiling": round(mean_ceiling(samples, grid), 4),
        "ceiling_iou": round(float(np.mean(shrunk or [1.0])), 4),  # the records' older figure
    }


def recorded(name: str) -> list[dict]:
    """The runs of a recorded comparison, in order of method and seed; UserError for none."""
    rank = {m: i for i, m in enumerate(("base_boxed", *KNOWN))}
    return sorted(results.recorded(name), key=lambda r: (rank[r["method"]], r["seed"]))


def line(record: dict) -> str:
    """One record as a line of a table."""
    mean, seconds = record["mean"], record.get("training_seconds", 0.0)
    reach = record.get("ceiling", math.nan)  # older records have none
    return (
        f"{record['data']:>14}  {record['method']:<19} seed {record['seed']}  "
        f"dice {mean['dice']:.3f}  iou {mean['iou']:.3f} (ceiling {reach:.3f})  "
        f"{seconds:6.1f} s"
    )


def closing_lines(records: Sequence[dict], methods: Sequence[str], sam) -> str:
    """The grid and memory of a comparison, then each method against the first, seed by seed."""
    side, first = mask_side(sam), methods[0]
    lines = [f"ceiling: of masks of {side} x {side}; peak {peak_mb(sam.device):.0f} MB"]
    for method in methods[1:]:
        each = paired(records, method, first)
        numbers = ", ".join(f"{d:+.3f}" for d in each)
        lines.append(f"{method} - {first}, dice by seed: {numbers}; mean {each.mean():+.3f}")
    return "\n".join(lines)


def paired(records: Sequence[dict], method: str, against: str, metric: str = "dice") -> np.ndarray:
    """Differences method - against of the runs' means, one a seed, in order of seeds."""
    of = {(r["method"], r["seed"]): r["mean"][metric] for r in records}
    seeds = sorted(s for m, s in of if m == method)
    return np.array([of[method, s] - of[against, s] for s in seeds])
