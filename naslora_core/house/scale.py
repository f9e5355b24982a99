"""The real size: what was measured of it, and what was not for want of a GPU."""

from pathlib import Path

from naslora_core.house.sources import CORE, recorded, runs, source
from naslora_core.labels import LABELS

FORMS = {
    "segment_anything": "`segment_anything`: logits plus bias",
    "fused": "ours: places appended to the heads",
    "mask": "bias as the kernel's mask",
    "flex": "FlexAttention",
}
GPU = "python -m naslora_core gpu-table --out naslora_core/recorded/gpu"
BENCH = "bench --sizes vit_b --device cuda --out naslora_core/recorded/bench_cuda.json"
ATTENTION = "measure attention --device cuda --out naslora_core/recorded/attention_cuda.json"
# what, the command that measures it, and the record that then exists
MISSING = (
    ("vit_b at 1024 in bf16, batch 2 and 4, eight methods, fast attention on and off: time, memory",
     GPU, "gpu/vit_b_1024-nas_lora-b2-fast-bf16.json"),
    ("the same with late blocks alone and their input from a cache",
     GPU, "gpu/vit_b_1024-nas_lora_late-b2-fast-cache-bf16.json"),
    ("vit_h with NAS-LoRA on one card", GPU, "gpu/vit_h_1024-nas_lora-b2-fast-bf16.json"),
    ("the forms of attention on CUDA, FlexAttention with its backward",
     f"python -m naslora_core {ATTENTION}", "attention_cuda.json"),
    ("two blocks of vit_b on CUDA: every method, and folded encoders beside vanilla",
     f"python -m naslora_core {BENCH}", "bench_cuda.json"),
    ("plans against a GPU's allocator", "make test ARGS=\"-m gpu\"", ""),
    ("the lessons on the profile `gpu`: time, memory, and whether vit_b stays within their "
     "tolerances (that they run with a model on another device is tested)",
     "make workbook PROFILE=gpu", ""),
    ("a leg of `sam_nano` trained there",
     "python -m naslora_core pretrain --scenes 900000 --decay 1 --batch 64 --device cuda "
     "--workers 14", ""),
)  # fmt: skip


def scale_table(core: Path = CORE) -> str:
    """Attention's forms, plans, caches and legs on a GPU, as recorded."""
    parts = attention(core), plans(core), caches(core), gpu_rows(core)
    return "\n\n".join(filter(None, parts))


def attention(core: Path = CORE) -> str:
    """A row a form of attention, windowed and global."""
    kept = recorded(core, "attention.json")
    if not kept:
        return ""
    rows = [_form(form, kept["rows"]) for form in FORMS]
    names = ["attention", *(f"{c} {w}" for w in kept["rows"] for c in ("time", "kept MB"))]
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
    return "\n".join([head, "|---" * 8 + "|", *rows, "", source(*found)])


def _leg(record: dict) -> str:
    leg = record["leg"]
    method = LABELS.get(leg["method"], leg["method"].replace("_", " "))
    way = ("fast" if leg["fast"] else "official") + (", cached" if leg["kept"] else "")
    start = f"| {leg['size']} | {method} | {leg['batch']} | {way} | "
    if record.get("out_of_memory"):
        return f"{start}out of memory | - | - | - |"
    speed, peak = record["images_per_second"], record["peak_mb"] / 1024
    ratio = f"{record['ratio']:.3f}" if record["ratio"] else "-"  # where LoRA does not fit
    return f"{start}{record['ms']:.0f} | {ratio} | {speed:.2f} | {peak:.1f} |"


def missing(core: Path = CORE) -> str:
    """What was not measured for want of a GPU, and what would."""
    left = [
        f"| {what} | `{command}` |"
        for what, command, record in MISSING
        if not record or not (core / "recorded" / record).exists()
    ]
    return "\n".join(["| not measured: no GPU was there | its command |\n|---|---|", *left])
