"""Tables of records: the base, every method on drawn domains and photographs, what methods cost."""

from collections.abc import Mapping, Sequence
from statistics import mean

from naslora_core.sam.checkpoints import manifest
from naslora_workbook.research.benchmarks.gpu_steps import removed
from naslora_workbook.research.learning_rate_selection import best_rates, tried
from naslora_workbook.results.labels import LABELS, markdown
from naslora_workbook.results.records import measured, recorded

Records = Sequence[Mapping]
COLUMNS = ("box", "ellipse", "click", "disc", "ceiling")
LEGS = {"conv_lora_released": "Conv-LoRA, released", "nas_lora_late": "NAS-LoRA, last four blocks"}
WAYS = {"kept": "cached", "compiled": "compiled", "files": "from files"}


def source(*records: Mapping, commands: Sequence[str] = ()) -> str:
    """Every device, date, commit and command that stands in the records, with a full stop.

    commands: to be named in place of the records' own, where these are parts of one.
    """
    found = [r["provenance"] for r in records]
    of = {k: list(dict.fromkeys(p[k] for p in found)) for k in ("device", "commit", "command")}
    of["command"] = commands or of["command"]
    days = sorted({p["date"] for p in found})
    dates = " to ".join(sorted({days[0], days[-1]}))
    code = {k: ", ".join(f"`{x}`" for x in given) for k, given in of.items()}
    return f"{', '.join(of['device'])}, {dates}, commit {code['commit']}, {code['command']}."


def paragraphs(*parts: str) -> str:
    """Parts of a page with an empty line between them."""
    return "\n\n".join(parts)


def of_method(records: Records, method: str) -> list[Mapping]:
    """The records of one method."""
    return [r for r in records if r["method"] == method]


def figure() -> str:
    """The picture of the README's first screen, with its caption and what made it."""
    hero = measured("measurements/hero")
    picture = f"![{hero['alt']}](naslora_workbook/results/hero.png)"
    return paragraphs(picture, f"{hero['caption']} {source(hero)}")


def base_table() -> str:
    """What `sam_nano` reaches unadapted, on its own scenes and on recorded sets of photographs."""
    photographs, card = measured("measurements/base_table"), manifest()
    found = [("its own scenes", card["table"]), *sorted(photographs["rows"].items())]
    rows = [[n, str(r["objects"]), *(f"{r[c]:.3f}" for c in COLUMNS)] for n, r in found]
    p = card["provenance"]
    note = (
        f"After {card['scenes_seen']:,} scenes and {card['training_minutes']:.0f} minutes on "
        f"{p['device']}, {p['date']}, commit `{p['commit']}`. Photographs: the "
        f"{photographs['split']} splits. {source(photographs)}"
    )
    return paragraphs(markdown(("data", "objects", *COLUMNS), rows), note)


def photograph_table() -> str:
    """Test Dice of every method on photographs of polyps, seed by seed."""
    records, rows = recorded("kvasir_polyp"), []
    for method, label in LABELS.items():
        if mine := sorted(of_method(records, method), key=lambda r: r["seed"]):
            dice, iou = ([r["mean"][k] for r in mine] for k in ("dice", "iou"))
            seeds = ", ".join(f"{d:.3f}" for d in dice)
            rows.append([label, f"{mean(dice):.3f}", f"{mean(iou):.3f}", seeds])
    one = of_method(records, "lora")[0]
    s = one["setting"]
    ceiling = next(r["ceiling"] for r in records if "ceiling" in r)
    note = (
        f"{len(one['images'])} test images of {one['data']}; {s['steps']} steps of {s['batch']} "
        f"images a method in {s['precision']}; resolution ceiling of 64 x 64 masks {ceiling:.3f} "
        "IoU; each at its own learning rate (`rates`)."
    )
    head = markdown(("method", "Dice", "IoU", "Dice by seed"), rows)
    return paragraphs(head, note, source(*records))


def development_table() -> str:
    """Validation IoU of every method on the development domains, at equal passes."""
    records, rows = recorded("methods"), []
    domains, s = sorted({r["data"] for r in records}), records[-1]["setting"]
    for method, label in LABELS.items():
        if mine := of_method(records, method):
            cells = [_range_of([r["mean"]["iou"] for r in mine if r["data"] == d]) for d in domains]
            lr = "" if method == "base_boxed" else f"{mine[0]['setting']['lr']:g}"
            rows.append([label, lr, *cells])
    nothing = [f"{LABELS[r['method']]} on {r['data']}" for r in records if not r["mean"]["iou"]]
    collapsed = f" Runs that drew nothing right: {', '.join(nothing)}." if nothing else ""
    note = (
        f"Validation IoU, mean over seeds (lowest to highest), {s['steps']} steps of {s['batch']} "
        f"images in {s['precision']}.{collapsed} {_rates()}"
    )
    head = markdown(("method", "learning rate", *domains), rows)
    return paragraphs(head, note, source(*records))


def _range_of(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{v:.3f} (one run)" for v in values)
    seeds = "" if len(values) == 3 else f", {len(values)} seeds"
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f}{seeds})"


def _rates() -> str:
    """In a sentence, how each method's learning rate was chosen."""
    trials, chosen = tried("rates"), best_rates("rates").values()
    grid = sorted({lr for of in trials.values() for lr in of})
    ends = sum(lr in (grid[0], grid[-1]) for lr in chosen)
    return (
        f"The learning rate is the best of {', '.join(f'{lr:g}' for lr in grid)} on camouflage "
        f"with another seed (`rates`); of {len(trials)} best ones {ends or 'none'} lie at an end "
        "of these."
    )


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
