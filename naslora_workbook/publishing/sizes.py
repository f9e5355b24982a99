"""What the methods of recorded runs train beside SAM's decoder, and how long that takes."""

from collections.abc import Mapping, Sequence
from functools import cache
from statistics import median

import torch

from naslora_core.adapters import adapt
from naslora_core.adapters.discretisation import ChosenLoRA
from naslora_core.sam import build_nano
from naslora_workbook.results.labels import LABELS


def trained(records: Sequence[Mapping], method: str) -> str:
    """Trained numbers in the encoder, least to most; of the U-Net, which has no SAM, all."""
    count = "trained_parameters"
    decoder = {r["data"]: r[count] for r in records if r["method"] == "decoder_only"}
    runs = [r for r in records if r["method"] == method and count in r]
    return _range({r[count] - (method != "unet") * decoder[r["data"]] for r in runs})


def chosen(records: Sequence[Mapping], method: str) -> str:
    """The same with one operator a block, as projection reads it; empty where no whole cell
    was searched."""
    runs = [r for r in records if r["method"] == method and r.get("genotype")]
    genotypes = [r["genotype"] for r in runs if r["adapter"].startswith("NASLoRA(")]
    searched = [g["blocks"] for g in genotypes if len(g["operators"]) > 1]
    return _range({_size(tuple(b["projection"] for b in blocks)) for blocks in searched})


@cache
def _size(operators: tuple[str, ...]) -> int:
    with torch.device("meta"):
        model = adapt(build_nano(), ChosenLoRA(rank=4, chosen=operators))
    return sum(p.numel() for n, p in model.trainable().items() if ".image_encoder." in n)


def _range(sizes: set[int]) -> str:
    ends = sorted({min(sizes), max(sizes)}) if sizes else []
    return " to ".join(f"{size:,}" for size in ends)


def minutes(records: Sequence[Mapping], method: str) -> str:
    """In a sentence, how long a U-Net's passes take beside the method's, on the same data and seed;
    empty without a U-Net."""
    seconds = "training_seconds"
    took = {(r["data"], r["seed"], r["method"]): r[seconds] for r in records if seconds in r}
    ratios = [t / took[d, s, method] for (d, s, m), t in took.items() if m == "unet"]
    if not ratios:
        return ""
    ratio = f"{median(ratios):.2f} of {LABELS[method]}'s minutes"
    return f"A U-Net's passes take {ratio} (median of {len(ratios)} pairs of runs). "
