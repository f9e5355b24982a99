"""The real SAM on a GPU: time and memory of whole training steps, one JSON a setting.

    python -m naslora_core gpu-table --sizes vit_b_1024 --batches 1 2 4 --minutes 8

Settings that are done are skipped, one that was killed begins anew, and none begins after the
minutes. Random weights in the official layout: no number depends on their values. The steps of a
method take turns with LoRA's; the card's memory is read before, without LoRA's model.
"""

import gc
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from naslora_core.adapters import ConvLoRA, adapt
from naslora_core.data import open_data
from naslora_core.errors import known
from naslora_core.files import make_folder, write_atomic
from naslora_core.sam import fuse
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.training.devices import known_device
from naslora_core.training.fitting import fit
from naslora_core.training.losses import cross_entropy_dice
from naslora_workbook.research.benchmarks.measurement import interleaved, summary
from naslora_workbook.research.memory_planner import autocast
from naslora_workbook.research.methods import METHODS
from naslora_workbook.research.provenance import provenance

REFERENCE = "lora"
SIZES = {"nano": "sam_nano", "vit_b_1024": "vit_b", "vit_l_1024": "vit_l", "vit_h_1024": "vit_h"}
COMPARED = ("lora", "fixed_conv", "nas_lora", "conv_lora_released", "conv_lora")
USED = METHODS | {"conv_lora_released": ConvLoRA(dispatch="released")}
FILES = 24  # JPEGs in the folder that `fit` reads; each step its batch of them


@dataclass(frozen=True)
class Leg:
    """One row: fast: the fused attention; compiled: by torch.compile; kept: of older records, the
    early blocks came from a cache; files: `fit` reads JPEGs, else tensors lie on the card."""

    size: str
    method: str
    batch: int
    fast: bool = True
    kept: bool = False
    precision: str = "bf16"
    compiled: bool = False
    files: bool = False

    @property
    def name(self) -> str:
        """Its file, without the ending."""
        ways = ["fast" if self.fast else "official"] + ["cache"] * self.kept
        ways += ["compiled"] * self.compiled + ["files"] * self.files
        return "-".join([self.size, self.method, f"b{self.batch}", *ways, self.precision])


def legs(
    sizes: Sequence[str],
    batches: Sequence[int],
    precision: str = "bf16",
    methods: Sequence[str] = COMPARED,
) -> list[Leg]:
    """Every row of the table: all methods, then from files, then compiled, then official."""
    for size in sizes:
        known(size, SIZES, "Unknown size")
    for method in methods:
        known(method, COMPARED, "No setting is of method")
    plain = [Leg(s, m, b, precision=precision) for s in sizes for b in batches for m in methods]
    read = [replace(leg, files=True) for leg in plain if leg.method in (REFERENCE, "nas_lora")]
    compiled = [replace(leg, compiled=True) for leg in plain]
    return [*plain, *read, *compiled, *(replace(leg, fast=False) for leg in plain)]


def run(
    found: Sequence[Leg], out: Path, command: str, device: str, rounds: int = 9, minutes: float = 8
) -> list[dict]:
    """Measure the settings that are missing in `out`, as far as the minutes go; all records."""
    device, end = str(known_device(device)), time.monotonic() + 60 * minutes
    make_folder(out)
    records = []
    for leg in found:
        path = out / f"{leg.name}.json"
        if not path.exists():
            if time.monotonic() > end:
                continue
            record = {"leg": asdict(leg), "rounds": rounds} | measured(leg, device, rounds)
            record |= {"provenance": provenance(command, device)}
            write_atomic(path, json.dumps(record, indent=1) + "\n")
        records.append(json.loads(path.read_text()))
        print(line(records[-1]), flush=True)
    return records


def measured(leg: Leg, device: str, rounds: int) -> dict:
    """Peak megabytes, milliseconds a step, ratio to LoRA's; or that memory ran out."""
    try:
        row = (_from_files if leg.files else _measured)(leg, device, rounds)
        return row | {"images_per_second": round(1000 * leg.batch / row["ms"], 3)}
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}
    finally:
        gc.collect()
        if device != "cpu":
            torch.cuda.empty_cache()


def _sam(leg: Leg, device: str) -> nn.Module:
    sam = BUILDERS[SIZES[leg.size]]().eval().requires_grad_(False).to(device)
    if leg.fast:
        fuse(sam.image_encoder)
    return sam


def _measured(leg: Leg, device: str, rounds: int) -> dict:
    sam = _sam(leg, device)
    model, mine = _stepping(sam, leg.method, leg, device)
    mine()  # AdamW's states and the kernels' choices are there from now on
    peak = _peak(mine, device)
    work = {"mine": mine, "reference": _stepping(sam, REFERENCE, leg, device)[1]}
    times = interleaved(work, rounds, device)
    trained = sum(p.numel() for p in model.trainable().values())
    return summary(times["mine"], times["reference"]) | peak | {"trained": trained}


def _peak(step: Callable[[], object], device: str) -> dict:
    """The most megabytes that the GPU held in a step; nothing on a CPU."""
    if device == "cpu":
        return {}
    torch.cuda.reset_peak_memory_stats()
    step()
    return {"peak_mb": round(torch.cuda.max_memory_allocated() / 2**20, 1)}


def _stepping(sam, method: str, leg: Leg, device: str):
    """An adapted model, and a call that makes a whole training step of it."""
    model = adapt(sam, USED[method]).train()
    g, side = torch.Generator().manual_seed(0), model.image_size
    images = torch.randint(0, 256, (leg.batch, 3, side, side), generator=g).float()
    masks = (images.mean(1) > 128).to(torch.uint8)
    optimiser = torch.optim.AdamW(model.trainable().values())
    if leg.compiled:
        model.sam.image_encoder.compile()
    given = images.to(device), masks.to(device), leg.precision
    return model, partial(step, model, *given, optimiser=optimiser)


def step(model: nn.Module, images: Tensor, masks: Tensor, precision: str, optimiser) -> None:
    """Forward, loss, backward, AdamW; gradients are freed at the end."""
    with autocast(precision, images.device.type):
        out = model(images)
    (cross_entropy_dice(out.masks.float(), masks) + model.auxiliary_loss()).backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _from_files(leg: Leg, device: str, rounds: int) -> dict:
    """Milliseconds of a step of `fit` that reads JPEGs, and its ratio to one on tensors."""
    sam = _sam(leg, device)
    on_card = interleaved({"mine": _stepping(sam, leg.method, leg, device)[1]}, rounds, device)
    model = adapt(sam, USED[leg.method])
    how = {"batch": leg.batch, "precision": leg.precision, "progress": False}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), model.image_size)
        history = fit(model, open_data(folder), steps=rounds + 2, **how).history
    ms = (1000 * np.diff([e["seconds"] for e in history][1:])).tolist()
    return summary(ms, on_card["mine"][: len(ms)])


def write_images(folder: Path, side: int) -> None:
    """JPEGs of smooth noise and their masks, as `images/` and `masks/`."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        make_folder(folder / part)
    for i in range(FILES):
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
        image = coarse.resize((side, side), Image.Resampling.BICUBIC)
        image.save(folder / "images" / f"{i}.jpg", quality=90)
        mask = np.asarray(image.convert("L")) > 128
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{i}.png")


def line(record: dict) -> str:
    """A setting as a line of text."""
    shown = ("ms", "ratio", "images_per_second", "peak_mb", "out_of_memory")
    numbers = ", ".join(f"{name} {record[name]}" for name in shown if name in record)
    return f"{Leg(**record['leg']).name:<52}  {numbers}"


def removed(records: Sequence[dict], released: bool = True) -> dict[str, float]:
    """The share of Conv-LoRA's overhead over LoRA that NAS-LoRA removes, setting by setting:
    (T_conv - T_nas) / (T_conv - 1), T a step's time as a ratio to LoRA's.

    released: against the released dispatch, else against the fastest one.
    """
    rival, found = "conv_lora_released" if released else "conv_lora", {}
    of = {Leg(**r["leg"]): r["ratio"] for r in records if r.get("ratio")}
    for leg, conv in of.items():
        nas = of.get(replace(leg, method="nas_lora"))
        if leg.method == rival and nas is not None and conv > 1:
            found[leg.name] = round((conv - nas) / (conv - 1), 4)
    return found
