"""What the README says was found: sentences whose numbers are read from the records."""

from collections.abc import Mapping

import numpy as np

from naslora_workbook.research import preregistration as registry
from naslora_workbook.research.benchmarks.gpu_steps import Leg
from naslora_workbook.research.bootstrap import Interval
from naslora_workbook.results.labels import LABELS
from naslora_workbook.results.records import recorded

RIVALS = ("lora", "conv_lora", "fixed_conv", "fixed_5x5", "nas_uniform", "random_operator")
LEGS = {  # a training step on the GPU: what, and the leg's name
    "LoRA": "vit_b_1024-lora-b2-fast-bf16",
    "NAS-LoRA": "vit_b_1024-nas_lora-b2-fast-bf16",
    "the released Conv-LoRA": "vit_b_1024-conv_lora_released-b2-fast-bf16",
}


def leads() -> dict[str, Interval]:
    """Rival's label -> NAS-LoRA minus the rival over all domains of the registered comparison."""
    protocol, records = registry.registered()
    table = registry.verdict(records, protocol)
    return {LABELS[rival]: table[rival]["all"] for rival in RIVALS}


def verdict_title(found: Mapping[str, Interval]) -> str:
    """The registered verdict in one clause."""
    above = [rival for rival, interval in found.items() if interval.low > 0]
    below = [rival for rival, interval in found.items() if interval.high < 0]
    told = [f"above {', '.join(above)}"] if above else []
    told += [f"below {', '.join(below)}"] if below else []
    unsure = len(found) - len(above) - len(below)
    tail = f"from {unsure} of {len(found)} rivals we cannot tell it apart"
    return f"NAS-LoRA scores {' and '.join(told)}; {tail}" if told else f"NAS-LoRA: {tail}"


def findings() -> str:
    """Five sentences, a list."""
    found = leads()
    return "\n".join(f"- {words}" for words in (
        _gain(), _lead("Conv-LoRA", found), _lead("LoRA", found), _search(found), _price(),
    ))  # fmt: skip


def _gain() -> str:
    """What adapting the encoder adds, on validation images of the drawn domains."""
    runs = recorded("methods")
    domains = sorted({r["data"] for r in runs})
    seeds = len({r["seed"] for r in runs if r["method"] == "lora"})

    def mean(method: str, domain: str) -> float:
        own = [r for r in runs if r["method"] == method and r["data"] == domain]
        return float(np.mean([r["mean"]["iou"] for r in own]))

    parts = (
        f"from {mean('decoder_only', d):.2f} (decoder alone) to {mean('lora', d):.2f} on {d}"
        for d in domains
    )
    return f"LoRA in the encoder raises validation IoU {' and '.join(parts)} ({seeds} seeds)."


def _lead(rival: str, found: Mapping[str, Interval]) -> str:
    interval = found[rival]
    direction = "above" if interval.mean > 0 else "below"
    tail = " The interval includes zero: we cannot tell." if interval.zero else ""
    return (
        f"Registered, eight domains, five seeds: NAS-LoRA scores {abs(interval.mean):.3f} IoU "
        f"{direction} {rival} (95 % interval {interval.low:+.3f} to {interval.high:+.3f}).{tail}"
    )


def _search(found: Mapping[str, Interval]) -> str:
    uniform, fixed = found[LABELS["nas_uniform"]], found[LABELS["fixed_5x5"]]
    if uniform.zero and fixed.zero:
        verdict = "so the search has not shown a benefit"
    else:
        verdict = "so the search makes a difference"
    return (
        f"The search minus the same cell with alpha frozen at uniform: {uniform} IoU; minus a "
        f"fixed 5x5: {fixed}, {verdict}."
    )


def _price() -> str:
    legs = {Leg(**r["leg"]).name: r for r in recorded("measurements/gpu")}
    times = {what: legs[name]["ms"] for what, name in LEGS.items()}
    told = ", ".join(f"{ms:.0f} ms for {what}" for what, ms in times.items())
    return f"A training step of vit_b at 1024 pixels, two images in bf16, takes {told} (one H200)."
