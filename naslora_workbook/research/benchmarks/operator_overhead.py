"""What convolving adapters add to LoRA's step, and how much of Conv-LoRA's part NAS-LoRA removes.

    python -m naslora_core overhead

Against Conv-LoRA as released, and against the fastest that we can write (`removed_share`).
"""

from collections.abc import Mapping
from functools import partial

from naslora_core.adapters import ConvLoRA, LoRA, NASLoRA
from naslora_workbook.research.benchmarks.measurement import interleaved, removed_share, summary
from naslora_workbook.research.benchmarks.method_costs import (
    REFERENCE,
    SIZES,
    blank,
    build,
    encoder_with,
    step,
)

NOISE = 0.02  # an overhead below it is none that a share could be taken of
NINE, THREE = "nas_lora", "nas_lora of 3 operators"
RIVALS = {"released": "conv_lora, released", "fastest": "conv_lora, fast"}
PATHS = {
    REFERENCE: LoRA(rank=4),
    RIVALS["released"]: ConvLoRA(dispatch="released"),
    RIVALS["fastest"]: ConvLoRA(dispatch="fast"),
    NINE: NASLoRA(rank=4),
    THREE: NASLoRA(rank=4, operators=("skip", "conv_3x3", "conv_5x5")),
}


def measure_overhead(size: str, rounds: int, device: str = "cpu") -> dict[str, dict]:
    """A row a path: milliseconds of a step of the encoder, and its ratio to LoRA's, in turns."""
    sam = build(size).to(device)
    images = blank(sam.image_encoder, SIZES[size], device)
    work = {n: partial(step, encoder_with(sam, m), images, n) for n, m in PATHS.items()}
    times = interleaved(work, rounds, device)
    return {name: summary(times[name], times[REFERENCE]) for name in PATHS}


def removed(rows: Mapping[str, Mapping], way: str) -> float | None:
    """Share of a Conv-LoRA's overhead that NAS-LoRA removes; None where that is below NOISE."""
    nas, conv = rows[NINE]["ratio"], rows[RIVALS[way]]["ratio"]
    return removed_share(conv, nas) if conv - 1 > NOISE else None


def overhead_text(rows: Mapping[str, Mapping]) -> str:
    """Ratios with their spread, then what is removed."""
    others = (f"{name} {spread(row)}" for name, row in rows.items() if name != REFERENCE)
    return "; ".join([*others, shares_text(rows)])


def shares_text(rows: Mapping[str, Mapping]) -> str:
    """The shares that are removed, and what nine operators cost beside three."""
    parts = [
        f"of the median overhead of the {way} Conv-LoRA NAS-LoRA removes {share:.0%}"
        + (", but their spreads overlap" if _overlap(rows, way) else "")
        if (share := removed(rows, way)) is not None
        else f"the {way} Conv-LoRA adds less than {NOISE:.0%}, nothing to remove"
        for way in RIVALS
    ]
    nine = rows[NINE]["ratio"] / rows[THREE]["ratio"]
    return "; ".join([*parts, f"nine operators take {nine:.2f} of three's time"])


def spread(row: Mapping) -> str:
    """A ratio, with the lowest and the highest of its turns."""
    low, high = row["spread"]
    return f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _overlap(rows: Mapping[str, Mapping], way: str) -> bool:
    return rows[RIVALS[way]]["spread"][0] < rows[NINE]["spread"][1]
