"""The real SAM on a GPU: time and memory of whole training steps, one JSON a leg, kept.

    python -m naslora_core gpu-table --out naslora_workbook/results/gpu

A leg is a model, a method, a batch and a kind of attention, of seconds to minutes; one killed is
begun anew, those done are skipped. Random weights in the official layout: no number here hangs on
what they are. Each method's steps take turns with LoRA's, so that a GPU that slows down slows both;
its memory is measured before, alone.
"""

import gc
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from naslora_core.adapters import ConvLoRA, adapt
from naslora_core.adapters.methods import METHODS
from naslora_core.errors import UserError, known
from naslora_core.files import make_folder, write_atomic
from naslora_core.sam import fuse
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.training.distributed import known_device
from naslora_core.training.embedding_cache import FeatureCache, cached
from naslora_core.training.losses import cross_entropy_dice
from naslora_workbook.research.allocated import whole_peak
from naslora_workbook.research.benchmark import REFERENCE, interleaved, summary
from naslora_workbook.research.plan import placed
from naslora_workbook.research.planned_step import autocast
from naslora_workbook.research.provenance import device_name, provenance

SIZES = {"nano": "sam_nano", "vit_b_1024": "vit_b", "vit_l_1024": "vit_l", "vit_h_1024": "vit_h"}
COMPARED = ("decoder_only", "lora", "conv_lora", "conv_lora_released", "nas_lora", "nas_pc_lora",
            "lst", "full")  # fmt: skip
KEPT = ("decoder_only", "nas_lora_late")  # whose early part is cached
LARGEST = ("nas_lora",)  # what vit_h is there for
IN_LEGS = METHODS | {
    "conv_lora_released": ConvLoRA(dispatch="released"),
    "nas_lora_late": placed(METHODS["nas_lora"], "late-4"),
}


@dataclass(frozen=True)
class Leg:
    """One row: fast: the fused attention; kept: the early part comes from a cache on disk."""

    size: str
    method: str
    batch: int
    fast: bool = True
    kept: bool = False
    precision: str = "bf16"

    @property
    def name(self) -> str:
        """Its file, without the ending."""
        ways = ["fast" if self.fast else "official"] + ["cache"] * self.kept
        return "-".join([self.size, self.method, f"b{self.batch}", *ways, self.precision])


def legs(sizes: Sequence[str], batches: Sequence[int], precision: str = "bf16") -> Iterator[Leg]:
    """Every leg of the table; of ViT-H what shows that NAS-LoRA fits."""
    for size in sizes:
        known(size, SIZES, "Unknown size")
        for batch in batches:
            for fast in (True, False):
                methods = LARGEST if size == "vit_h_1024" else COMPARED
                for method in methods:
                    yield Leg(size, method, batch, fast, precision=precision)
            for method in KEPT if size != "vit_h_1024" else ():
                yield Leg(size, method, batch, kept=True, precision=precision)


def run(found: Sequence[Leg], out: Path, command: str, device="cuda", rounds: int = 9) -> list:
    """Measure the legs that are missing in `out`; the records of all."""
    device = str(known_device(device))
    make_folder(out)
    records = []
    for leg in found:
        path = out / f"{leg.name}.json"
        if not path.exists():
            record = {"leg": asdict(leg), "rounds": rounds} | measured(leg, device, rounds)
            record |= {"provenance": provenance(command, device)}
            write_atomic(path, json.dumps(record, indent=1) + "\n")
        records.append(_kept(path, rounds, device_name(device)))
        print(line(records[-1]), flush=True)
    return records


def _kept(path: Path, rounds: int, device: str) -> dict:
    """The record at `path`, if it was made as this run would make it."""
    record = json.loads(path.read_text())
    made, asked = (record["rounds"], record["provenance"]["device"]), (rounds, device)
    if made != asked:
        raise UserError(
            f"{path} was measured in {made[0]} rounds on {made[1]}, this run asks for {rounds} on "
            f"{device}; take another folder."
        )
    return record


def measured(leg: Leg, device: str, rounds: int) -> dict:
    """Peak megabytes, milliseconds a step, ratio to LoRA's (None where LoRA itself does not fit);
    or that memory ran out."""
    try:
        return _measured(leg, device, rounds)
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}
    finally:
        _freed(device)


def _measured(leg: Leg, device: str, rounds: int) -> dict:
    sam = BUILDERS[SIZES[leg.size]]().eval().requires_grad_(False).to(device)
    if leg.fast:
        fuse(sam.image_encoder)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(folder) if leg.kept else None
        model, mine = _stepping(sam, leg.method, leg, device, cache, stack)
        mine()  # AdamW's states, the kernels' choices and the cache are there from now on
        peak = whole_peak(model, mine.keywords["optimiser"], mine, device)
        row = _timed(mine, partial(_stepping, sam, REFERENCE, leg, device, None, stack), rounds,
                     device)  # fmt: skip
    trained = sum(p.numel() for p in model.trainable().values())
    speed = round(1000 * leg.batch / row["ms"], 3)
    return row | {"images_per_second": speed, "peak_mb": round(peak / 2**20, 1),
                  "trained": trained}  # fmt: skip


def _timed(mine, reference, rounds: int, device: str) -> dict:
    """Milliseconds in turns with the reference's step; alone where that runs out of memory."""
    with suppress(torch.OutOfMemoryError):
        times = interleaved({"mine": mine, "reference": reference()[1]}, rounds, device)
        return summary(times["mine"], times["reference"])
    _freed(device)
    alone = interleaved({"mine": mine}, rounds, device)["mine"]
    return {"ms": round(statistics.median(alone), 2), "ratio": None, "spread": None}


def _freed(device: str) -> None:
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


def _stepping(sam, method: str, leg: Leg, device: str, cache, stack: ExitStack):
    """An adapted model, and a call that makes a whole training step of it."""
    model = adapt(sam, IN_LEGS[method]).train()
    stack.enter_context(cached(model, cache))
    g, side = torch.Generator().manual_seed(0), model.image_size
    images = torch.randint(0, 256, (leg.batch, 3, side, side), generator=g).float()
    masks = (images.mean(1) > 128).to(torch.uint8)
    optimiser = torch.optim.AdamW(model.trainable().values())
    given = images.to(device), masks.to(device), leg.precision
    return model, partial(step, model, *given, optimiser=optimiser)


def step(model: nn.Module, images: Tensor, masks: Tensor, precision: str, optimiser) -> None:
    """Forward, loss, backward, AdamW; gradients are freed at the end."""
    with autocast(precision, images.device.type):
        out = model(images)
    (cross_entropy_dice(out.masks.float(), masks) + model.auxiliary_loss()).backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def line(record: dict) -> str:
    """A leg as a line."""
    name = Leg(**record["leg"]).name
    if record.get("out_of_memory"):
        return f"{name:<52}  out of memory"
    beside = "LoRA does not fit"
    if record["ratio"]:
        low, high = record["spread"]
        beside = f"{record['ratio']:6.3f} ({low:.3f} to {high:.3f}) of LoRA"
    speed, peak = record["images_per_second"], record["peak_mb"]
    return f"{name:<52}  {record['ms']:9.1f} ms  {beside}  {speed:8.2f} images/s  {peak:9.1f} MB"


def removed(records: Sequence[dict], released: bool = True) -> dict[str, float]:
    """The share of Conv-LoRA's overhead over LoRA that NAS-LoRA removes, leg by leg.

    released: against the released dispatch, else against the fastest one.
    """
    rival = "conv_lora_released" if released else "conv_lora"
    of = {Leg(**r["leg"]): r["ratio"] for r in records if r.get("ratio")}
    shares = {}
    for leg in (leg for leg in of if leg.method == rival):
        nas = of.get(Leg(**asdict(leg) | {"method": "nas_lora"}))
        if nas is not None and of[leg] > 1:
            # (T_conv - T_nas) / (T_conv - T_lora)
            shares[leg.name] = round((of[leg] - nas) / (of[leg] - 1), 4)
    return shares
