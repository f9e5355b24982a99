"""What methods cost, as tables: parameters, time and memory, and the real size on a GPU."""

from collections.abc import Mapping

from naslora_workbook.publishing.result_tables import Records, paragraphs, source
from naslora_workbook.research.benchmarks.gpu_steps import removed
from naslora_workbook.results.labels import LABELS, markdown
from naslora_workbook.results.records import measured, recorded

LEGS = {"conv_lora_released": "Conv-LoRA, released", "nas_lora_late": "NAS-LoRA, last four blocks"}
WAYS = {"kept": "cached", "compiled": "compiled", "files": "from files"}


def cost_table(kept: Mapping | None = None) -> str:
    """Every method: size, start, what folds; its cost beside LoRA's (`bench`)."""
    kept, big = kept or measured("measurements/bench"), measured("measurements/bench_vit_b")
    facts = (
        "Every method behind `adapt(sam, method)`: numbers that it trains in an encoder of each "
        "size (the mask decoder is trained beside all of them), whether masks are the base's "
        "before the first step, and what of it can be written into the base's weights."
    )
    times = (
        "Time of a training step and of inference, LoRA's is 1; saved: megabytes kept for "
        "backward, batch 8. ViT-B: that of one windowed and one global block at 1024, batch 1."
    )
    nano = kept["rows"]["nano"]
    floor = (
        f"Medians of {kept['rounds']} turns taken in one run. The floor, a frozen forward and the "
        f"backward to its input, is {nano['floor']['step_ratio']:.2f}; only what trains nothing in "
        f"the first block can be below it. {_folded(kept['folded']['nano'])}"
    )
    tables = facts, _facts(kept["facts"]), times, _times(kept, big["rows"]["vit_b"])
    return paragraphs(*tables, floor, f"{source(kept)} {source(big)}")


def _facts(facts: Mapping) -> str:
    names = "method", "nano", "ViT-B", "ViT-L", "ViT-H", "starts as base", "folds"
    rows = [
        [LABELS[name], *(f"{n:,}" for n in each["parameters"].values()),
         "no" if each["start_difference"] else "yes", each["folds"].partition(":")[0]]
        for name, each in facts.items()
    ]  # fmt: skip
    return markdown(names, rows)


def _times(kept: Mapping, big: Mapping) -> str:
    rows = []
    for name in kept["facts"]:
        row, larger = kept["rows"]["nano"][name], big.get(name)
        cells = [f"{row[kind]:.2f}" for kind in ("step_ratio", "inference_ratio")]
        saved = f"{larger['saved_mb']:,.0f}" if larger else "-"
        rows.append([LABELS[name], *cells, f"{row['saved_mb']:.0f}", saved])
    return markdown(("method", "step", "inference", "saved", "saved ViT-B"), rows)


def _folded(rows: Mapping) -> str:
    """Inference of folded encoders beside the vanilla one, in a sentence."""
    ratios = ", ".join(f"{n} {r['inference_ratio']:.2f}" for n, r in rows.items() if n != "vanilla")
    return f"Folded, of a vanilla encoder's inference: {ratios}."


def gpu_table(records: Records | None = None) -> str:
    """A row a measured combination of `gpu-table`."""
    records = recorded("measurements/gpu") if records is None else records
    names = "model", "method", "batch", "attention", "ms a step", "of LoRA", "images/s", "peak GB"
    head = markdown(names, [_leg(record) for record in records])
    return paragraphs(head, f"{shares(records)} {source(*records)}")


def _leg(record: Mapping) -> list[str]:
    leg = record["leg"]
    ways = ["fast" if leg["fast"] else "official", *(w for key, w in WAYS.items() if leg.get(key))]
    start = [leg["size"], (LABELS | LEGS)[leg["method"]], str(leg["batch"]), ", ".join(ways)]
    if record.get("out_of_memory"):
        return [*start, "out of memory", "-", "-", "-"]
    ratio = f"{record['ratio']:.3f}" if record["ratio"] else "-"  # where LoRA does not fit
    peak = f"{record['peak_mb'] / 1024:.1f}" if "peak_mb" in record else "-"
    return [*start, f"{record['ms']:.0f}", ratio, f"{record['images_per_second']:.2f}", peak]


def shares(records: Records) -> str:
    """In a sentence, what NAS-LoRA removes of Conv-LoRA's overhead over LoRA, leg by leg."""
    found, told = [r for r in records if r["leg"]["size"] == "vit_b_1024"], []
    for released, way in ((True, "the released Conv-LoRA's"), (False, "the fastest one's")):
        part = [f"{share:.0%}" for share in removed(found, released).values()]
        told += [f"{', '.join(part)} of {way}"] if part else []
    if not told:
        return ""
    where = "With two images, fast and official attention, then with four, fast and official,"
    return (
        f"{where} NAS-LoRA removes {' and '.join(told)} overhead over LoRA. (This follows from the "
        'column "of LoRA": every leg was timed in turn with its own LoRA.)'
    )
