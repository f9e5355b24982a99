"""The experiments behind lessons 07 to 12: what the search does, and when it pays.

    python -m naslora_workbook.research.experiments run bad_company --share 1/2
    python -m naslora_workbook.research.experiments pack bad_company
    python -m naslora_workbook.research.experiments table bad_company

A run is a domain, an arm and a seed; an arm's name means the same run in every experiment, and a
run that is in the folder of runs or in the packed results is not made again. Only development
domains and their validation images are read, but for `protocol_2`, which is registered.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from naslora_core.adapters import adapt, cells, discretise
from naslora_core.adapters.discretisation import READINGS
from naslora_core.data.transforms import to_batch
from naslora_core.files import make_folder, write_atomic
from naslora_core.sam import load_sam
from naslora_core.search.schedule import SCHEDULES, weights_only
from naslora_core.training.evaluation import Scores, evaluate
from naslora_core.training.fitting import fit
from naslora_workbook.lessons.domains import DOMAINS, drawn
from naslora_workbook.lessons.exercises.lesson_09 import steadiness
from naslora_workbook.research import neighbours
from naslora_workbook.research.compare import small_unet
from naslora_workbook.research.experiment_arms import ARMS, EXPERIMENTS, REGISTERED, Arm
from naslora_workbook.research.experiment_methods import gains, slower_decoder
from naslora_workbook.research.experiment_runs import packed, table
from naslora_workbook.research.methods import METHODS
from naslora_workbook.research.preregistration import committed, in_turn
from naslora_workbook.research.provenance import provenance
from naslora_workbook.research.variants import VARIANTS
from naslora_workbook.results.records import RESULTS, keep

IMAGES = {"train": 256, "val": 48, "test": 48}  # the laptop profile; an image is drawn when read
BATCH = 8
PAINTERS = DOMAINS | {"neighbours": neighbours}
QUIET = {"progress": False, "precision": "bf16"}


def jobs(experiment: str) -> Iterator[tuple[str, str, int]]:
    """All runs of an experiment: domain by domain, in each seed by seed, so pairs come early."""
    for name, arms, seeds in EXPERIMENTS[experiment]:
        yield from ((name, arm, seed) for seed in seeds for arm in arms)


def made(folder: Path) -> dict[str, dict]:
    """Every run there is: packed, or in some experiment's folder of runs."""
    fresh = {p.stem: json.loads(p.read_text()) for p in folder.glob("*/*.json")}
    return {_name(run): run for runs in packed().values() for run in runs} | fresh


def _name(record: dict) -> str:
    return f"{record['domain']}-{record['arm']}-{record['seed']}"


@cache
def whole(name: str):
    """The domain, its training images drawn once."""
    data = drawn(name, PAINTERS[name], IMAGES, size=128)
    return replace(data, train=list(data.train))


def images_of(name: str, count: int, seed: int):
    """The domain with `count` training images, chosen by the seed where not all are taken."""
    data = whole(name)
    if count >= len(data.train):
        return data
    chosen = np.random.default_rng([seed, count]).permutation(len(data.train))[:count]
    return replace(data, train=[data.train[int(i)] for i in chosen])


def run(sam, name: str, arm_name: str, seed: int) -> dict:
    """Train and score one run."""
    arm = ARMS[arm_name]
    data = images_of(name, arm.images, seed)
    model = _model(sam, arm.method, name, len(data.classes), seed)
    schedule = weights_only(arm.steps, arm.lr)
    if arm.schedule != "weights":
        schedule = SCHEDULES[arm.schedule](arm.steps, arm.lr, arm.alpha_lr)
    listen = slower_decoder(model, arm.decoder_lr / arm.lr) if arm.decoder_lr else None
    how = arm.steps, BATCH, arm.lr, seed
    result = fit(model, data, schedule, *how, on_event=listen, **QUIET)
    found = {"domain": name, "arm": arm_name, "seed": seed} | _setting(arm)
    found |= _outcome(model, result, _scores(model, data, arm.split))
    return found | ({"after": settled(sam, model, data, arm, seed)} if arm.settle else {})


def _model(sam, method, name: str, classes: int, seed: int):
    if method == "unet":
        return small_unet(sam, classes, seed)
    if isinstance(method, str):
        method = (METHODS | VARIANTS)[method]
    elif callable(method):
        method = method(name, seed)
    return adapt(sam, method, classes, seed)


def settled(sam, model, data, arm: Arm, seed: int) -> dict:
    """Scores of the mixture, and of either reading put in its place, before and after settling."""
    images, _ = to_batch(data.train[:16], model.image_size)
    kept = {"mixture": model}
    kept |= {reading: discretise(sam, model, images, reading) for reading in READINGS}
    found = {}
    for name, each in kept.items():
        before = _by_image(_scores(each, data, "val"))
        schedule = weights_only(arm.settle, arm.lr / 3)
        fit(each, data, schedule, arm.settle, BATCH, arm.lr, seed, **QUIET)
        macs = sum(_macs(cell) for cell in cells(each).values())
        after = _by_image(_scores(each, data, "val"))
        found[name] = {"before": before, "after": after, "macs": macs}
    return found


def _macs(cell) -> int:
    """Multiply-adds a token; a mixture is one convolution with the largest kernel."""
    one = len(cell.operators) == 1
    return cell.operators[0].macs() if one else cell.side**2 * cell.rank**2


def _scores(model, data, split: str) -> Scores:
    return evaluate(model, getattr(data, split), None, len(data.classes), batch=16)


def _by_image(scores: Scores) -> list[float]:
    return [round(float(v), 3) for v in scores.iou]


def _setting(arm: Arm) -> dict:
    """What a reader needs to make the run again, short; the arm's code has the rest."""
    facts = {"lr": arm.lr, "steps": arm.steps, "images": arm.images, "schedule": arm.schedule}
    facts |= {"alpha_lr": arm.alpha_lr} if arm.schedule != "weights" else {}
    return facts | ({"decoder_lr": arm.decoder_lr} if arm.decoder_lr else {})


def _outcome(model, result, scores: Scores) -> dict:
    """Scores, what the cells chose, and how the loss ended."""
    found = {
        "iou": round(float(scores.iou.mean()), 4),
        "dice": round(float(scores.dice.mean()), 4),
        "empty": round(float(np.mean([not m.any() for m in scores.masks])), 3),
        "each": _by_image(scores),
        "loss": [round(e["loss"], 3) for e in result.history[19::20]],
        "seconds": round(result.seconds, 1),
        "trained": sum(p.numel() for p in model.trainable().values()),
    }
    found |= {"gains": g} if (g := gains(model)) else {}
    if result.genotype and len(result.genotype.operators) > 1:
        found |= _choice(result.genotype.blocks)
    rows = [e["alpha"] for e in result.history if "alpha" in e and "alpha" in e["moved"]]
    if rows:
        steady = [round(float(v), 3) for v in steadiness(np.array(rows, float))]
        found |= {"steadiness": steady, "alpha_steps": len(rows)}
    return found


def _choice(blocks) -> dict:
    """Both readings and the softmax of every block."""
    return {
        "argmax": [b.argmax for b in blocks],
        "projection": [b.projection for b in blocks],
        "off_centre": [round(b.residual.get("conv_1x1", -1), 4) for b in blocks],
        "probability": [[round(p, 3) for p in b.probability] for b in blocks],
    }


def run_all(experiment: str, folder: Path, share: str, until: str, only: list[str]) -> None:
    """Every missing run of a share of the experiment (the I-th of each N).

    only: words of which each is the domain or a part of the arm's name.
    """
    facts = registered_facts() if experiment == REGISTERED else {}
    torch.set_num_threads(1)
    sam = load_sam()
    wanted = {"-".join(map(str, job)): job for job in jobs(experiment)}
    wanted = {name: job for name, job in wanted.items() if all(word in name for word in only)}
    for name, job in in_turn(list(wanted.items()), share, until):
        if name in made(folder):
            continue
        record = run(sam, *job) | facts | {"provenance": provenance(command_line())}
        make_folder(folder / experiment)
        write_atomic(folder / experiment / f"{name}.json", json.dumps(record) + "\n")
        print(f"{name:48} iou {record['iou']:.4f}  {record['seconds']:.0f} s", flush=True)


def registered_facts() -> dict:
    """The digest of the registered file; UserError where it is not committed as it stands."""
    path = RESULTS / f"{REGISTERED}.yml"
    committed(path)
    return {"protocol": hashlib.sha256(path.read_bytes()).hexdigest()[:12]}


def command_line() -> str:
    """What was asked, without where its files lie and how it was divided."""
    return " ".join(["python -m naslora_workbook.research.experiments", *sys.argv[1:3]])


def pack(experiment: str, folder: Path) -> None:
    """One JSON line a run into the results; those packed before are kept."""
    fresh = [json.loads(p.read_text()) for p in sorted((folder / experiment).glob("*.json"))]
    runs = {_name(run): run for run in (*packed().get(experiment, ()), *fresh)}
    keep(f"experiments/{experiment}", [runs[key] for key in sorted(runs)])
    print(f"experiments/{experiment}: {len(runs)} runs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("run", "pack", "table"))
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--runs", type=Path, default=Path("build/experiments"), metavar="FOLDER")
    parser.add_argument("--share", default="1/1", metavar="I/N", help="every N-th run")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="in a run's name")
    parser.add_argument("--until", default="", metavar="HH:MM", help="begin none after, UTC")
    a = parser.parse_args()
    if a.what == "run":
        run_all(a.experiment, a.runs, a.share, a.until, a.only)
    elif a.what == "pack":
        pack(a.experiment, a.runs)
    else:
        print(table(a.experiment, made(a.runs).values()))


if __name__ == "__main__":
    main()
