"""The real size: what was measured of it on a processor and on a GPU."""

from pathlib import Path

from naslora_workbook.publishing.costs import overhead
from naslora_workbook.publishing.sources import CORE, recorded, runs, source
from naslora_workbook.research.gpu_table import Leg, removed
from naslora_workbook.results.labels import LABELS

FORMS = {
    "segment_anything": "`segment_anything`: logits plus bias",
    "fused": "ours: places appended to the heads",
    "mask": "bias as the kernel's mask",
    "flex": "FlexAttention",
}
LEGS = {"conv_lora_released": "Conv-LoRA, released", "nas_lora_late": "NAS-LoRA, last four blocks"}
SHOWN = {  # on the front page: what, and the leg's name
    "vit_b, NAS-LoRA, SAM's own attention": "vit_b_1024-nas_lora-b2-official-bf16",
    "the same with the fused attention, which is the default": "vit_b_1024-nas_lora-b2-fast-bf16",
    "and in the last four blocks, the rest from a cache":
        "vit_b_1024-nas_lora_late-b2-fast-cache-bf16",
    "vit_b, LoRA, fused": "vit_b_1024-lora-b2-fast-bf16",
    "vit_b, Conv-LoRA as released, fused": "vit_b_1024-conv_lora_released-b2-fast-bf16",
    "vit_b, decoder alone, fused": "vit_b_1024-decoder_only-b2-fast-bf16",
    "vit_h, NAS-LoRA, fused": "vit_h_1024-nas_lora-b2-fast-bf16",
}  # fmt: skip
WHERE = {"attention.json": "on the processor, float32", "attention_cuda.json": "on CUDA, float32"}


def scale_table(core: Path = CORE) -> str:
    """Attention's forms, plans, caches, and what a GPU took, as recorded."""
    parts = [attention(core, name) for name in WHERE]
    parts += [plans(core), caches(core), gpu_rows(core), inference(core), blocks(core)]
    parts += [overhead(core, "overhead_cuda.json")]
    return "\n\n".join(filter(None, parts))


def attention(core: Path = CORE, name: str = "attention.json") -> str:
    """A row a form of attention, windowed and global."""
    kept = recorded(core, name)
    if not kept:
        return ""
    rows = [_form(form, kept["rows"]) for form in FORMS]
    names = [f"attention {WHERE[name]}"]
    names += [f"{c} {w}" for w in kept["rows"] for c in ("time", "kept MB")]
    head = f"| {' | '.join([*names, 'error'])} |\n{'|---' * (len(names) + 1)}|"
    note = (
        "One layer of ViT-B at 1024, forward and backward: time as a ratio to "
        f"`segment_anything`'s, median of {kept['rounds']} turns; megabytes kept for backward; "
        "largest error of output or gradient, relative."
    )
    return "\n".join([head, *rows, "", f"{note}\n\n{source(kept)}"])


def _form(form: str, rows: dict) -> str:
    cells, errors = [], []
    for where in rows.values():
        row = where[form]
        if "refused" in row:
            why = row["refused"].partition(". ")[0]
            return f"| {FORMS[form]} | {' | '.join(['-'] * 4)} | {why} |"
        cells += [f"{row['ratio']:.2f}", f"{row['saved_mb']:,.0f}"]
        errors.append(max(row["output_error"], row["gradient_error"]))
    return f"| {FORMS[form]} | {' | '.join(cells)} | {max(errors):.0e} |"


def plans(core: Path = CORE) -> str:
    """How far `plan` was off, in a sentence."""
    kept = [recorded(core, f"plan_{size}.json") for size in ("nano", "vit_b")]
    if not all(kept):
        return ""
    where = "`sam_nano`", "two blocks of ViT-B at 1024"
    said = [f"{_off(w, k['rows'])}. {source(k)}" for w, k in zip(where, kept, strict=True)]
    return f"`plan` beside what was then measured, its largest errors. {' '.join(said)}"


def _off(where: str, rows: list[dict]) -> str:
    """The largest error of memory and, where it was taken, of time."""
    text = f"{len(rows)} settings of {where}: memory {_worst(rows, 'peak'):.1%}"
    timed = [r for r in rows if "seconds" in r["ratio"]]
    return text + (f", time {_worst(timed, 'seconds'):.0%}" if timed else "")


def _worst(rows: list[dict], key: str) -> float:
    return max(abs(r["ratio"][key] - 1) for r in rows)


def caches(core: Path = CORE) -> str:
    """What `--cache` saves of a step, in a sentence."""
    kept = recorded(core, "cache.json")
    if not kept:
        return ""
    said = ", ".join(f"{name} {row['with']['ratio']:.2f}" for name, row in kept["rows"].items())
    half = max(row["half"]["loss_difference"] for row in kept["rows"].values())
    return (
        f"A training step of `sam_nano` with `--cache`, of one without, once all images are kept: "
        f"{said}. The same losses; with `--cache-half` they differ by {half:.0e} at most. "
        f"{source(kept)}"
    )


def gpu_rows(core: Path = CORE) -> str:
    """A row a leg of `gpu-table`; empty until there is one."""
    found = runs(core, "gpu")
    if not found:
        return ""
    head = "| model | method | batch | attention | ms a step | of LoRA | images/s | peak GB |"
    rows = [_leg(record) for record in found]
    note = f"{shares(core)} {source(*found)}"
    return "\n".join([head, "|---" * 8 + "|", *rows, "", note])


def _leg(record: dict) -> str:
    leg = record["leg"]
    method = (LABELS | LEGS)[leg["method"]]
    way = ("fast" if leg["fast"] else "official") + (", cached" if leg["kept"] else "")
    start = f"| {leg['size']} | {method} | {leg['batch']} | {way} | "
    if record.get("out_of_memory"):
        return f"{start}out of memory | - | - | - |"
    speed, peak = record["images_per_second"], record["peak_mb"] / 1024
    ratio = f"{record['ratio']:.3f}" if record["ratio"] else "-"  # where LoRA does not fit
    return f"{start}{record['ms']:.0f} | {ratio} | {speed:.2f} | {peak:.1f} |"


def shares(core: Path = CORE) -> str:
    """In a sentence, what NAS-LoRA removes of Conv-LoRA's overhead over LoRA, leg by leg."""
    found = [r for r in runs(core, "gpu") if r["leg"]["size"] == "vit_b_1024"]
    told = []
    for released, way in ((True, "the released Conv-LoRA's"), (False, "the fastest one's")):
        part = [f"{share:.0%}" for share in removed(found, released).values()]
        told += [f"{', '.join(part)} of {way}"] if part else []
    if not told:
        return ""
    where = "With two images, fast and official attention, then with four, fast and official,"
    return f"{where} NAS-LoRA removes {' and '.join(told)} overhead over LoRA."


def inference(core: Path = CORE) -> str:
    """Whole encoders of ViT-B beside the vanilla one, in a sentence."""
    kept = recorded(core, "inference_cuda.json")
    if not kept:
        return ""
    told = "; ".join(f"in {precision} {_speeds(rows)}" for precision, rows in kept["rows"].items())
    return f"Whole encoders of ViT-B at 1024, four images, images a second: {told}. {source(kept)}"


def _speeds(rows: dict) -> str:
    each = (f"{n} {r['images_per_second']:.0f} (time {r['ratio']:.2f})" for n, r in rows.items())
    return ", ".join(each)


def blocks(core: Path = CORE) -> str:
    """Two blocks of ViT-B on a GPU: every method's step and inference, beside LoRA's."""
    kept = recorded(core, "bench_cuda.json")
    if not kept:
        return ""
    rows = kept["rows"]["vit_b"].items()
    each = ", ".join(f"{LABELS.get(n, n)} {r['step_ratio']:.2f}" for n, r in rows)
    folded = kept["folded"]["vit_b"].items()
    beside = ", ".join(f"{n} {r['inference_ratio']:.2f}" for n, r in folded if n != "vanilla")
    return (
        "One windowed and one global block of ViT-B at 1024 on CUDA in float32, a step beside "
        f"LoRA's: {each}. Folded, of a vanilla encoder's inference: {beside}. {source(kept)}"
    )


def headline(core: Path = CORE) -> str:
    """For the front page: what a training step of the real SAM takes of a GPU."""
    found = {Leg(**r["leg"]).name: r for r in runs(core, "gpu")}
    lines = [f"| {what} | {_cells(found[name])} |" for what, name in SHOWN.items() if name in found]
    if not lines:
        return ""
    head = "| a training step at 1024 pixels, two images, bf16 | ms | images/s | peak GB |"
    return "\n".join([head, "|---|---|---|---|", *lines, "",
                      f"{shares(core)} {source(*found.values())}"])  # fmt: skip


def _cells(record: dict) -> str:
    speed, peak = record["images_per_second"], record["peak_mb"] / 1024
    return f"{record['ms']:.0f} | {speed:.1f} | {peak:.1f}"
