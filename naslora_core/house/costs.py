"""The README's table of what every method is and costs, from recorded benchmarks alone."""

import json
from pathlib import Path

from naslora_core.house.labels import LABELS
from naslora_core.house.results import CORE
from naslora_core.training.overhead import told


def cost_table(core: Path = CORE) -> str:
    """Every method: size, start, what folds, and its cost beside LoRA's (`bench`)."""
    path = core / "recorded" / "bench.json"
    if not path.exists():
        return ""
    kept, big = json.loads(path.read_text()), _big(core)
    rows = [_cost_line(name, kept) + _big_line(name, big) for name in kept["facts"]]
    names = "method nano ViT-B ViT-L ViT-H start=base folds step inference saved".split()
    names += ["step B", "inference B", "saved B"] * bool(big)
    head = f"| {' | '.join(names)} |"
    p, floor = kept["provenance"], kept["rows"]["nano"]["floor"]
    note = (
        f"Trained parameters in the encoder (the mask decoder is trained beside all of them). Step "
        f"and inference of `sam_nano`'s encoder as ratios to LoRA's, medians of {kept['rounds']} "
        f"turns taken in one run; the floor, a frozen forward and the backward to its input, is "
        f"{floor['step_ratio']:.2f}. Saved: megabytes kept for backward, batch 8. "
        f"{_folded(kept['folded']['nano'])} {p['device']}, "
        f"{p['date']}, commit `{p['commit']}`, `{p['command']}`.{_big_note(big)}"
    )
    note += _overhead(core)
    title = "Every method behind `adapt(sam, method)`, what it adds and what that costs:\n"
    return "\n".join([title, head, "|---" * len(names) + "|", *rows, "", note])


def _big(core: Path) -> dict:
    """The same for one windowed and one global block of ViT-B at 1024, where it was measured."""
    path = core / "recorded" / "bench_vit_b.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _big_line(name: str, big: dict) -> str:
    row = big["rows"]["vit_b"].get(name) if big else None
    if not row:
        return " - | - | - |" if big else ""
    return f" {row['step_ratio']:.2f} | {row['inference_ratio']:.2f} | {row['saved_mb']:,.0f} |"


def _big_note(big: dict) -> str:
    if not big:
        return ""
    p, floor = big["provenance"], big["rows"]["vit_b"]["floor"]["step_ratio"]
    return (
        f" B: one windowed and one global block of ViT-B at 1024, official attention, batch 1, "
        f"{big['rounds']} turns, floor {floor:.2f}; {p['date']}, commit `{p['commit']}`, "
        f"`{p['command']}`."
    )


def _overhead(core: Path) -> str:
    """What operators add to LoRA's step, as a paragraph of its own."""
    path = core / "recorded" / "overhead.json"
    if not path.exists():
        return ""
    kept = json.loads(path.read_text())
    p, rows = kept["provenance"], kept["rows"].items()
    said = ". ".join(f"{size}, a step of LoRA's: {told(each)}" for size, each in rows)
    return (
        f"\n\n{said}. Medians of {kept['rounds']} turns in one run. {p['device']}, "
        f"{p['date']}, commit `{p['commit']}`, `{p['command']}`."
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
