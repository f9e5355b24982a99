"""The table of what every method is and costs, from recorded benchmarks alone."""

from pathlib import Path

from naslora_core.house.sources import CORE, recorded, source
from naslora_core.labels import LABELS
from naslora_core.training.overhead import told

TITLE = (
    "Every method behind `adapt(sam, method)`. nano to ViT-H: numbers that it trains in the "
    "encoder of that size (the mask decoder is trained beside all of them). start=base: masks are "
    "the base's before the first step. folds: what of it can be written into the base's weights. "
    "step, inference: their time, LoRA's is 1. saved: megabytes kept for backward, batch 8."
)
BIG_TITLE = " B: the same of one windowed and one global block of ViT-B at 1024."


def cost_table(core: Path = CORE) -> str:
    """Every method: size, start, what folds, and its cost beside LoRA's (`bench`)."""
    kept, big = recorded(core, "bench.json"), recorded(core, "bench_vit_b.json")
    if not kept:
        return ""
    rows = [_cost_line(name, kept) + _big_line(name, big) for name in kept["facts"]]
    names = "method nano ViT-B ViT-L ViT-H start=base folds step inference saved".split()
    names += ["step B", "inference B", "saved B"] * bool(big)
    head = f"| {' | '.join(names)} |"
    floor = kept["rows"]["nano"]["floor"]
    note = (
        f"Step and inference of `sam_nano`'s encoder are medians of {kept['rounds']} turns taken "
        f"in one run; the floor, a frozen forward and the backward to its input, is "
        f"{floor['step_ratio']:.2f}, and only what trains nothing in the first block can be below "
        f"it. {_folded(kept['folded']['nano'])} {source(kept)}{_big_note(big)}"
    )
    note += _overhead(core)
    title = TITLE + BIG_TITLE * bool(big) + "\n"
    return "\n".join([title, head, "|---" * len(names) + "|", *rows, "", note])


def _big_line(name: str, big: dict) -> str:
    row = big["rows"]["vit_b"].get(name) if big else None
    if not row:
        return " - | - | - |" if big else ""
    return f" {row['step_ratio']:.2f} | {row['inference_ratio']:.2f} | {row['saved_mb']:,.0f} |"


def _big_note(big: dict) -> str:
    if not big:
        return ""
    rows = big["rows"]["vit_b"]
    spreads = [row[f"{kind}_spread"] for row in rows.values() for kind in ("step", "inference")]
    widest = max(high - low for low, high in spreads)
    return (
        f" B: official attention, batch 1, {big['rounds']} turns, whose ratios lie up to "
        f"{widest:.2f} apart: smaller differences there say nothing; floor "
        f"{rows['floor']['step_ratio']:.2f}. {source(big)}"
    )


def _overhead(core: Path) -> str:
    """What operators add to LoRA's step, as a paragraph of its own."""
    kept = recorded(core, "overhead.json")
    if not kept:
        return ""
    said = ". ".join(f"{size}: {told(each)}" for size, each in kept["rows"].items())
    return (
        f"\n\nA step beside LoRA's, median (lowest to highest) of {kept['rounds']} turns in one "
        f"run. {said}. {source(kept)}"
    )


def _folded(rows: dict) -> str:
    """Inference of folded encoders beside the vanilla one, in a sentence."""
    ratios = ", ".join(f"{n} {r['inference_ratio']:.2f}" for n, r in rows.items() if n != "vanilla")
    return f"Folded, of a vanilla encoder's inference: {ratios}."


def _cost_line(name: str, kept: dict) -> str:
    facts, row = kept["facts"][name], kept["rows"]["nano"][name]
    sizes = " | ".join(f"{n:,}" for n in facts["parameters"].values())
    start = "yes" if facts["start_difference"] == 0 else "no"
    return (
        f"| {LABELS[name]} | {sizes} | {start} | {facts['folds'].partition(':')[0]} | "
        f"{row['step_ratio']:.2f} | {row['inference_ratio']:.2f} | {row['saved_mb']:.1f} |"
    )
