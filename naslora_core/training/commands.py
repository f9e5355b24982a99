"""What `python -m naslora_core table | compare | pretrain` does."""

import argparse
import sys
from pathlib import Path

from naslora_core.data import open_data
from naslora_core.profiles import profile
from naslora_core.sam import load_sam, manifest
from naslora_core.sam.registry import WEIGHTS, read_state
from naslora_core.training import pretrain as legs
from naslora_core.training.compare import Setting, paired, peak_mb
from naslora_core.training.compare import compare as run_compare
from naslora_core.training.publish import publish
from naslora_core.training.table import component_cases, scene_cases, score


def command_line() -> str:
    """The words of this call, as a reader would type them."""
    return " ".join(["python -m naslora_core", *sys.argv[1:]])


def table(arguments: argparse.Namespace) -> None:
    """Print one row: box and click beside ellipse, disc and ceiling."""
    sam = load_sam(arguments.model, arguments.checkpoint)
    if arguments.images:
        data = open_data(arguments.images, profile("laptop"))
        cases, name = component_cases(getattr(data, arguments.split)), data.name
    else:
        cases, name = scene_cases(), "scenes"
    row = score(sam, cases)
    columns = "box ellipse click disc click_best_of_3 ceiling".split()
    print("".join(f"{c:>17}" for c in ("data", "objects", *columns)))
    print(f"{name:>17}{row['objects']:>17}" + "".join(f"{row[c]:>17.3f}" for c in columns))


def compare(arguments: argparse.Namespace) -> None:
    """Run the missing runs, print every run, then each method against the first, seed by seed."""
    data, out = open_data(arguments.data, profile("laptop")), Path(arguments.out)
    setting = Setting(steps=arguments.steps, split=arguments.split)
    first, *others = arguments.methods
    records = run_compare(
        load_sam(), data, arguments.methods, arguments.seeds, out, setting, command_line()
    )
    print(f"ceiling of 64 x 64 masks: iou {records[0]['ceiling_iou']:.3f}; peak {peak_mb():.0f} MB")
    for method in others:
        each = paired(records, method, first)
        numbers = ", ".join(f"{d:+.3f}" for d in each)
        print(f"{method} - {first}, dice by seed: {numbers}; mean {each.mean():+.3f}")


def pretrain(arguments: argparse.Namespace) -> None:
    """Train or go on with a leg, or publish a cooled one."""
    out = Path(arguments.out)
    if arguments.publish:
        print(publish(out)["table"])
        return
    path, start = WEIGHTS / "sam_nano.safetensors", None
    if path.exists() and not (out / "state.pt").exists():
        facts = manifest()
        start = {"tensors": {k: v.float() for k, v in read_state(path).items()}}
        start |= {"scenes": facts["scenes_seen"], "minutes": facts["training_minutes"]}
    legs.run(legs.Leg(scenes=arguments.scenes, decay=arguments.decay), out, start)
