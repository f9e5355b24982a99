"""Tables of what every method is and costs, from recorded benchmarks alone."""

from pathlib import Path

from naslora_workbook.publishing.sources import CORE, recorded, source
from naslora_workbook.research.overhead import PATHS, said, spread
from naslora_workbook.results.labels import LABELS

FACTS = (
    "Every method behind `adapt(sam, method)`: numbers that it trains in an encoder of each size "
    "(the mask decoder is trained beside all of them), whether masks are the base's before the "
    "first step, and what of it can be written into the base's weights."
)
TIMES = (
    "Time of a training step and of inference, LoRA's is 1; saved: megabytes kept for backward, "
    "batch 8."
)
BIG = " ViT-B: that of one windowed and one global block at 1024, batch 1."
SIZES = {"nano": "nano", "vit_b": "ViT-B's two blocks"}


def cost_table(core: Path = CORE) -> str:
    """Every method: size, start, what folds; its cost beside LoRA's (`bench`); what convolving
    adds to a step (`measure overhead`)."""
    kept, big = recorded(core, "bench.json"), recorded(core, "bench_vit_b.json")
    if not kept:
        return ""
    parts = FACTS, _facts(kept["facts"]), TIMES + BIG * bool(big), _times(kept, big)
    parts += _floor(kept), " ".join(map(source, filter(None, (kept, big)))), overhead(core)
    return "\n\n".join(filter(None, parts))


def _facts(facts: dict) -> str:
    names = "method", "nano", "ViT-B", "ViT-L", "ViT-H", "starts as base", "folds"
    rows = [
        [LABELS[name], *(f"{n:,}" for n in each["parameters"].values()),
         "no" if each["start_difference"] else "yes", each["folds"].partition(":")[0]]
        for name, each in facts.items()
    ]  # fmt: skip
    return table(names, rows)


def _times(kept: dict, big: dict) -> str:
    names = ["method", "step", "inference", "saved", *["saved ViT-B"] * bool(big)]
    rows = [_time(name, kept["rows"]["nano"][name], big) for name in kept["facts"]]
    return table(names, rows)


def _time(name: str, row: dict, big: dict) -> list[str]:
    cells = [f"{row[kind]:.2f}" for kind in ("step_ratio", "inference_ratio")]
    cells = [LABELS[name], *cells, f"{row['saved_mb']:.0f}"]
    larger = big["rows"]["vit_b"].get(name) if big else None
    return cells + [f"{larger['saved_mb']:,.0f}" if larger else "-"] * bool(big)


def _floor(kept: dict) -> str:
    nano = kept["rows"]["nano"]
    return (
        f"Medians of {kept['rounds']} turns taken in one run. The floor, a frozen forward and the "
        f"backward to its input, is {nano['floor']['step_ratio']:.2f}; only what trains nothing in "
        f"the first block can be below it. {_folded(kept['folded']['nano'])}"
    )


def _folded(rows: dict) -> str:
    """Inference of folded encoders beside the vanilla one, in a sentence."""
    ratios = ", ".join(f"{n} {r['inference_ratio']:.2f}" for n, r in rows.items() if n != "vanilla")
    return f"Folded, of a vanilla encoder's inference: {ratios}."


def overhead(core: Path, name: str = "overhead.json") -> str:
    """What operators add to LoRA's step: a row a path, then the shares in words."""
    kept = recorded(core, name)
    if not kept:
        return ""
    sizes = {SIZES[size]: each for size, each in kept["rows"].items()}
    rows = [[path, *(spread(each[path]) for each in sizes.values())] for path in PATHS]
    turns = f"Median (lowest to highest) of {kept['rounds']} turns, LoRA's step is 1. Released: "
    turns += "Conv-LoRA's published dispatch; fast: ours (lesson 06)."
    shares = (f"{size}: {said(each)}." for size, each in sizes.items())
    return "\n\n".join([table(["a step", *sizes], rows), " ".join([turns, *shares]), source(kept)])


def table(names, rows) -> str:
    """Markdown of rows under names."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
