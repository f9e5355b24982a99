"""What methods cost, as tables: parameters, time and memory, and the real size on a GPU."""

from collections.abc import Mapping

from naslora_workbook.publishing.result_tables import Records, paragraphs, source
from naslora_workbook.research.benchmarks.gpu_steps import removed
from naslora_workbook.research.benchmarks.measurement import removed_share
from naslora_workbook.results.labels import LABELS, markdown
from naslora_workbook.results.records import measured, recorded

SIZES = {"nano": "nano", "vit_b": "ViT-B's two blocks"}
FORMS = {
    "segment_anything": "`segment_anything`: logits plus bias",
    "fused": "ours: places appended to the heads",
    "mask": "bias as the kernel's mask",
    "flex": "FlexAttention",
}
WHERE = {"attention": "on the processor, float32", "attention_cuda": "on CUDA, float32"}
LEGS = {"conv_lora_released": "Conv-LoRA, released", "nas_lora_late": "NAS-LoRA, last four blocks"}
NOISE = 0.02  # an overhead below it is none that a share could be taken of
NINE, THREE = "nas_lora", "nas_lora of 3 operators"
RIVALS = {"released": "conv_lora, released", "fastest": "conv_lora, fast"}
AUGMENTS = {"flips": "flips", "full": "flips, crops, colours"}


def cost_table(kept: Mapping | None = None) -> str:
    """Every method: size, start, what folds; its cost beside LoRA's (`bench`); what convolving
    adds to a step (`overhead`)."""
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
    return paragraphs(*tables, floor, f"{source(kept)} {source(big)}", overhead())


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


def overhead(name: str = "overhead") -> str:
    """What operators add to LoRA's step: a row a path, then the shares in words."""
    kept = measured(f"measurements/{name}")
    sizes = {SIZES[size]: each for size, each in kept["rows"].items()}
    paths = "lora", *RIVALS.values(), NINE, THREE
    rows = [[path, *(_spread(each[path]) for each in sizes.values())] for path in paths]
    turns = f"Median (lowest to highest) of {kept['rounds']} turns, LoRA's step is 1. Released: "
    turns += "Conv-LoRA's published dispatch; fast: ours (lesson 06)."
    told = (f"{size}: {removed_text(each)}." for size, each in sizes.items())
    return paragraphs(markdown(["a step", *sizes], rows), " ".join([turns, *told]), source(kept))


def _spread(row: Mapping) -> str:
    """A ratio, with the lowest and the highest of its turns."""
    low, high = row["spread"]
    return f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def removed_text(rows: Mapping[str, Mapping]) -> str:
    """Shares of a Conv-LoRA's overhead that NAS-LoRA removes, and what nine operators cost beside
    three."""
    parts, nas = [], rows[NINE]
    for way, conv in ((way, rows[path]) for way, path in RIVALS.items()):
        if conv["ratio"] - 1 <= NOISE:
            parts.append(f"the {way} Conv-LoRA adds less than {NOISE:.0%}, nothing to remove")
            continue
        share = removed_share(conv["ratio"], nas["ratio"])
        overlap = conv["spread"][0] < nas["spread"][1]
        tail = ", but their spreads overlap" if overlap else ""
        parts.append(
            f"of the median overhead of the {way} Conv-LoRA NAS-LoRA removes {share:.0%}{tail}"
        )
    nine = nas["ratio"] / rows[THREE]["ratio"]
    return "; ".join([*parts, f"nine operators take {nine:.2f} of three's time"])


def scale_table() -> str:
    """Attention's forms, plans, the embedding cache, and what a GPU took, as recorded."""
    sentences = plans(), cache_saving(), gpu_table(), inference(), blocks()
    return paragraphs(*map(attention, WHERE), *sentences, overhead("overhead_cuda"))


def attention(name: str, kept: Mapping | None = None) -> str:
    """A row a form of attention, windowed and global."""
    kept = kept or measured(f"measurements/{name}")
    columns = [f"{c} {w}" for w in kept["rows"] for c in ("time", "kept MB")]
    rows = [_form(form, kept["rows"]) for form in FORMS]
    note = (
        "One layer of ViT-B at 1024, forward and backward: time as a ratio to "
        f"`segment_anything`'s, median of {kept['rounds']} turns; megabytes kept for backward; "
        "largest error of output or gradient, relative."
    )
    head = markdown([f"attention {WHERE[name]}", *columns, "error"], rows)
    return paragraphs(head, note, source(kept))


def _form(form: str, rows: Mapping) -> list[str]:
    cells, errors = [], []
    for row in (each[form] for each in rows.values()):
        if "refused" in row:
            return [FORMS[form], *["-"] * 4, row["refused"].partition(". ")[0]]
        cells += [f"{row['ratio']:.2f}", f"{row['saved_mb']:,.0f}"]
        errors.append(max(row["output_error"], row["gradient_error"]))
    return [FORMS[form], *cells, f"{max(errors):.0e}"]


def plans() -> str:
    """The largest relative error of planned memory, in a sentence."""
    told = []
    for size, where in (("nano", "`sam_nano`"), ("vit_b", "two blocks of ViT-B at 1024")):
        kept = measured(f"measurements/plan_{size}")
        worst = max(abs(row["ratio"]["peak"] - 1) for row in kept["rows"])
        told.append(f"{len(kept['rows'])} settings of {where}: memory {worst:.1%}. {source(kept)}")
    return f"`plan` beside what was then measured, its largest errors. {' '.join(told)}"


def cache_saving() -> str:
    """What `--cache` saves of a step of a method whose whole encoder is frozen, in a sentence."""
    kept = measured("measurements/cache")
    told = ", ".join(f"{name} {row['with']['ratio']:.2f}" for name, row in kept["rows"].items())
    return (
        "A training step of `sam_nano` with `--cache`, of one without, once all images are kept: "
        f"{told}. {source(kept)}"
    )


def gpu_table(records: Records | None = None) -> str:
    """A row a measured combination of `gpu-table`."""
    records = recorded("measurements/gpu") if records is None else records
    names = "model", "method", "batch", "attention", "ms a step", "of LoRA", "images/s", "peak GB"
    head = markdown(names, [_leg(record) for record in records])
    return paragraphs(head, f"{shares(records)} {source(*records)}")


def _leg(record: Mapping) -> list[str]:
    leg = record["leg"]
    way = ("fast" if leg["fast"] else "official") + (", cached" if leg.get("kept") else "")
    start = [leg["size"], (LABELS | LEGS)[leg["method"]], str(leg["batch"]), way]
    if record.get("out_of_memory"):
        return [*start, "out of memory", "-", "-", "-"]
    speed, peak = record["images_per_second"], record["peak_mb"] / 1024
    ratio = f"{record['ratio']:.3f}" if record["ratio"] else "-"  # where LoRA does not fit
    return [*start, f"{record['ms']:.0f}", ratio, f"{speed:.2f}", f"{peak:.1f}"]


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


def inference() -> str:
    """Whole encoders of ViT-B beside the vanilla one, in a sentence."""
    kept, told = measured("measurements/inference_cuda"), []
    for precision, rows in kept["rows"].items():
        each = (
            f"{n} {r['images_per_second']:.0f} (time {r['ratio']:.2f})" for n, r in rows.items()
        )
        told.append(f"in {precision} {', '.join(each)}")
    start = "Whole encoders of ViT-B at 1024, four images, images a second"
    return f"{start}: {'; '.join(told)}. {source(kept)}"


def blocks() -> str:
    """Two blocks of ViT-B on a GPU: every method's step and inference, beside LoRA's."""
    kept = measured("measurements/bench_cuda")
    rows = kept["rows"]["vit_b"].items()
    each = ", ".join(f"{LABELS.get(n, n)} {r['step_ratio']:.2f}" for n, r in rows)
    return (
        "One windowed and one global block of ViT-B at 1024 on CUDA in float32, a step beside "
        f"LoRA's: {each}. {_folded(kept['folded']['vit_b'])} {source(kept)}"
    )


def loading_table() -> str:
    """CPU time an image to decode and to load it, and images a second by workers."""
    kept, rows = measured("measurements/loading"), []
    for side, found in kept["rows"].items():
        for augment, words in AUGMENTS.items():
            mine = {n.split()[1]: r for n, r in found.items() if n.startswith(f"{augment} ")}
            spent = " / ".join(f"{r['cpu_ms']:.0f}" for r in mine.values())
            speeds = " / ".join(f"{r['per_second']:.1f}" for r in mine.values())
            free = 2000 / mine[max(mine)]["cpu_ms"]
            cells = [f"{found['decoding']['cpu_ms']:.0f}", spent, f"{free:.0f}", speeds]
            rows.append([f"{side} x {side}", words, *cells])
    names = ["JPEG", "augmentation", "decode", "load", "two free cores", "by the clock"]
    note = (
        "Decode, load: CPU milliseconds an image, of this process and its workers, medians of "
        f"{kept['rounds']} turns: to decode it alone, and to load it at 1024 x 1024 with "
        f"{' / '.join(mine)} workers. Two free cores: images a second that two cores could load "
        f"so with {max(mine)}. By the clock: images a second as measured, on two cores with a load "
        f"of {kept['load'][0]:g} to {kept['load'][1]:g}."
    )
    return paragraphs(markdown(names, rows), note, source(kept))
