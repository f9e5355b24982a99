"""Tables and sentences of results, made from the recorded runs alone."""

from collections.abc import Mapping, Sequence
from functools import cache
from statistics import mean, median

import torch

from naslora_core.adapters import adapt
from naslora_core.adapters.discretisation import ChosenLoRA
from naslora_core.sam import build_nano
from naslora_core.sam.checkpoints import manifest
from naslora_workbook.research import preregistration as registry
from naslora_workbook.research.benchmarks.gpu_steps import removed
from naslora_workbook.research.benchmarks.operator_overhead import PATHS, shares_text, spread
from naslora_workbook.research.learning_rate_selection import best_rates, tried
from naslora_workbook.research.operator_recovery import PLANTS, Race, rate
from naslora_workbook.research.pretraining.weights import in_use, latest
from naslora_workbook.results.labels import LABELS
from naslora_workbook.results.records import measured, recorded

Records = Sequence[Mapping]
COLUMNS = ("box", "ellipse", "click", "disc", "ceiling")
METRICS = {"iou": "IoU", "dice": "Dice"}
RIVAL, SUBJECT, GOAL = "conv_lora", "nas_lora", 0.5  # half of the rival's passes
SIZES = {"nano": "nano", "vit_b": "ViT-B's two blocks"}
FORMS = {
    "segment_anything": "`segment_anything`: logits plus bias",
    "fused": "ours: places appended to the heads",
    "mask": "bias as the kernel's mask",
    "flex": "FlexAttention",
}
WHERE = {"attention": "on the processor, float32", "attention_cuda": "on CUDA, float32"}
LEGS = {"conv_lora_released": "Conv-LoRA, released", "nas_lora_late": "NAS-LoRA, last four blocks"}


def source(*records: Mapping, commands: Sequence[str] = ()) -> str:
    """Every device, date, commit and command that stands in the records, with a full stop.

    commands: to be named in place of the records' own, where these are parts of one.
    """
    found = [r["provenance"] for r in records]
    of = {k: list(dict.fromkeys(p[k] for p in found)) for k in ("device", "commit", "command")}
    days = sorted({p["date"] for p in found})
    dates = " to ".join(sorted({days[0], days[-1]}))
    code = {k: ", ".join(f"`{x}`" for x in given) for k, given in of.items()}
    ran = ", ".join(f"`{c}`" for c in commands) or code["command"]
    return f"{', '.join(of['device'])}, {dates}, commit {code['commit']}, {ran}."


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown of rows of cells under names."""
    lines = ["|" + "|".join(["---"] * len(names)) + "|"]
    lines = ["| " + " | ".join(names) + " |", *lines]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _earlier(records: Records) -> str:
    """A sentence where records were not all made on the weights in use; else empty."""
    if {r["base"] for r in records} == {in_use()}:
        return ""
    return " All of it on an earlier `sam_nano`, and on the domains as they were drawn then."


def figure() -> str:
    """The picture of the README's first screen, with its caption and what made it."""
    hero = measured("measurements/hero")
    picture = f"![{hero['alt']}](naslora_workbook/results/hero.png)"
    return f"{picture}\n\n{hero['caption']} {source(hero)}"


def base_table() -> str:
    """What `sam_nano` reaches unadapted, on its own scenes and on recorded sets of photographs."""
    photographs, card = measured("measurements/base_table"), manifest(latest())
    found = [("its own scenes", card["table"]), *sorted(photographs["rows"].items())]
    rows = [[n, str(r["objects"]), *(f"{r[c]:.3f}" for c in COLUMNS)] for n, r in found]
    p = card["provenance"]
    seen = (
        f"After {card['scenes_seen']:,} scenes and {card['training_minutes']:.0f} minutes on "
        f"{p['device']}, {p['date']}, commit `{p['commit']}`."
    )
    split = f" Photographs: the {photographs['split']} splits."
    note = f"{seen}{split} {source(photographs)}"
    return f"{table(('data', 'objects', *COLUMNS), rows)}\n\n{note}"


def photograph_table() -> str:
    """Test Dice of every method on photographs of polyps, seed by seed."""
    records, rows = recorded("kvasir_polyp"), []
    for method, label in LABELS.items():
        if mine := sorted(_of(records, method), key=lambda r: r["seed"]):
            dice, iou = ([r["mean"][k] for r in mine] for k in ("dice", "iou"))
            seeds = ", ".join(f"{d:.3f}" for d in dice)
            rows.append([label, f"{mean(dice):.3f}", f"{mean(iou):.3f}", seeds])
    one = records[-1]
    s = one["setting"]
    note = (
        f"{len(one['images'])} test images of {one['data']}; {s['steps']} steps of {s['batch']} "
        f"images a method in {s['precision']}; ceiling of 64 x 64 masks {one['ceiling_iou']:.3f} "
        "IoU; each at its own learning rate (`rates`)."
    )
    head = table(("method", "Dice", "IoU", "Dice by seed"), rows)
    return f"{head}\n\n{note}\n\n{source(*records)}"


def _of(records: Records, method: str) -> list[Mapping]:
    return [r for r in records if r["method"] == method]


def development_table() -> str:
    """Validation IoU of every method on the development domains, at equal passes."""
    records = recorded("methods")
    domains, s = sorted({r["data"] for r in records}), records[-1]["setting"]
    rows = [_development_row(m, records, domains) for m in LABELS if _of(records, m)]
    note = (
        f"Validation IoU, mean over seeds (lowest to highest), {s['steps']} steps of {s['batch']} "
        f"images in {s['precision']}.{_collapsed(records)} {_rates()}"
    )
    head = table(("method", "learning rate", *domains), rows)
    return f"{head}\n\n{note}\n\n{source(*records)}"


def _development_row(method: str, records: Records, domains: Sequence[str]) -> list[str]:
    mine = _of(records, method)
    cells = [_range_of([r["mean"]["iou"] for r in mine if r["data"] == d]) for d in domains]
    lr = "" if method == "base_boxed" else f"{mine[0]['setting']['lr']:g}"
    return [LABELS[method], lr, *cells]


def _range_of(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{v:.3f} (one run)" for v in values)
    seeds = "" if len(values) == 3 else f", {len(values)} seeds"
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f}{seeds})"


def _collapsed(records: Records) -> str:
    """The runs that ended without a single right pixel, in a sentence."""
    runs = [f"{LABELS[r['method']]} on {r['data']}" for r in records if not r["mean"]["iou"]]
    return f" Runs that drew nothing right: {', '.join(runs)}." if runs else ""


def _rates() -> str:
    """In a sentence, how each method's learning rate was chosen."""
    trials, chosen = tried("rates"), best_rates("rates").values()
    grid = sorted({lr for of in trials.values() for lr in of})
    ends = sum(lr in (grid[0], grid[-1]) for lr in chosen)
    rates = ", ".join(f"{lr:g}" for lr in grid)
    return (
        f"The learning rate is the best of {rates} on camouflage with another seed (`rates`); of "
        f"{len(trials)} best ones {ends or 'none'} lie at an end of these."
    )


def planted_table() -> str:
    """How often each reading of a search names the cheapest class that fits what was planted."""
    rows, notes = [], []
    for place, label in (("cell", "a cell alone"), ("sam_nano", "inside `sam_nano`")):
        records = recorded(f"planted/{place}")
        races = [Race(**r) for record in records for r in record["races"]]
        each = (rate(races, reading) for reading in ("projection", "argmax"))
        hits = [f"{r['hits']:.0%} (by chance {r['chance']:.0%})" for r in each]
        rows.append([label, str(len(races)), *hits])
        whole = 5 * len(PLANTS)
        part = f"{len(records)}" + f" of {whole}" * (len(records) < whole)
        made_on = _earlier(records) if place == "sam_nano" else ""
        notes.append(f"{label.capitalize()}, {part} searches: {source(*records)}{made_on}")
    head = table(("planted in", "operators", "projection", "argmax alpha"), rows)
    return "\n\n".join([head, "By chance: the same readings dealt out at random.", *notes])


# The preregistered comparison


def registered_table(protocol=None, records: Records | None = None) -> str:
    """The subject's leads and whether the goal is met; while runs are missing, how many are."""
    protocol, records = _asked(protocol, records)
    if waiting := registry.waiting(records, protocol):
        return f"So far {waiting}"
    found, s = registry.verdict(records, protocol), protocol.setting
    names = [f"{LABELS[protocol.subject]} minus", "all domains", "test domains", "above zero"]
    rows = [_lead(LABELS[rival], row, protocol) for rival, row in found.items()]
    claims = registry.goal(found).items()
    met = "; ".join(f"{claim}: **{'yes' if holds else 'no'}**" for claim, holds in claims)
    goal = f"The goal that the protocol names (surely: by an interval without zero): {met}."
    note = (
        f"Test {METRICS[protocol.metric]} of {len(protocol.domains)} domains "
        f"({', '.join(protocol.test)} were never used for a choice) with {len(protocol.seeds)} "
        f"seeds each, {s.steps} steps of {s.batch} images; {protocol.level:.0%} intervals by "
        "bootstrap over domains and seeds; above and below zero: domains whose own interval is."
    )
    made = source(*records, commands=["python -m naslora_core protocol"])
    return "\n\n".join([table([*names, "below"], rows), goal, note, made])


def _lead(label: str, row: Mapping, protocol) -> list[str]:
    above = sum(row[name].low > 0 for name in protocol.domains)
    return [label, str(row["all"]), str(row["test"]), str(above), str(len(registry.behind(row)))]


def domains_table(protocol=None, records: Records | None = None) -> str:
    """Every method's mean on every domain, and what it trains; empty while runs are missing."""
    protocol, records = _asked(protocol, records)
    if registry.waiting(records, protocol):
        return ""
    title = (
        f"Test {METRICS[protocol.metric]}, mean of {len(protocol.seeds)} seeds. Trained: numbers "
        "in the encoder (of the U-Net, all), and how many are left with one operator a block, as "
        f"projection chooses it. {minutes(records, protocol.subject)}"
    )
    names = ("method", "trained", "with one operator", *protocol.domains, "mean")
    rows = [
        [LABELS[method], trained(records, method), chosen(records, method)]
        + [f"{value:.3f}" for value in (*(of[n] for n in protocol.domains), mean(of.values()))]
        for method, of in registry.means(records, protocol).items()
    ]
    made = source(*records, commands=["python -m naslora_core protocol"])
    return "\n\n".join([title, table(names, rows), made])


def _asked(protocol, records):
    protocol = protocol or registry.read()
    return protocol, registry.results(protocol) if records is None else records


def trained(records: Records, method: str) -> str:
    """Trained numbers in the encoder, least to most; of the U-Net, which has no SAM, all."""
    count = "trained_parameters"
    decoder = {r["data"]: r[count] for r in records if r["method"] == "decoder_only"}
    runs = [r for r in _of(records, method) if count in r]
    return _ends({r[count] - (method != "unet") * decoder[r["data"]] for r in runs})


def chosen(records: Records, method: str) -> str:
    """The same with one operator a block, as projection reads it; empty where no whole cell
    was searched."""
    runs = [r for r in _of(records, method) if r.get("genotype")]
    genotypes = [r["genotype"] for r in runs if r["adapter"]["name"] == "NASLoRA"]
    searched = [g["blocks"] for g in genotypes if len(g["operators"]) > 1]
    return _ends({_size(tuple(b["projection"] for b in blocks)) for blocks in searched})


@cache
def _size(operators: tuple[str, ...]) -> int:
    with torch.device("meta"):
        sam = build_nano()
    model = adapt(sam, ChosenLoRA(rank=4, chosen=operators))
    return sum(p.numel() for n, p in model.trainable().items() if ".image_encoder." in n)


def _ends(sizes: set[int]) -> str:
    ends = sorted({min(sizes), max(sizes)}) if sizes else []
    return " to ".join(f"{size:,}" for size in ends)


def minutes(records: Records, method: str) -> str:
    """In a sentence, how long a U-Net's passes take beside the method's, on the same data and seed;
    empty without a U-Net."""
    seconds = "training_seconds"
    took = {(r["data"], r["seed"], r["method"]): r[seconds] for r in records if seconds in r}
    ratios = [t / took[d, s, method] for (d, s, m), t in took.items() if m == "unet"]
    if not ratios:
        return ""
    ratio = f"{median(ratios):.2f} of {LABELS[method]}'s minutes"
    return f"A U-Net's passes take {ratio} (median of {len(ratios)} pairs of runs). "


# How many passes a method needs until it is as good as a rival is at its end. Runs of a grid share
# their machine, so time is passes, times what a step takes beside the rival's in turns (`bench`).


def steps_to_target(looks: Sequence[Sequence[float]], quality: float) -> int | None:
    """Step of the first look (step, value, seconds) of at least this value."""
    return next((step for step, value, *_ in looks if value >= quality), None)


def passes_to_target(records: Records, method: str) -> list[float | None]:
    """By domain and seed the passes until the rival's last validation Dice, as a share of the
    rival's whole run; None where it is never reached. Runs without a rival are left out."""
    of = {(r["data"], r["seed"], r["method"]): r["looks"] for r in records if r.get("looks")}
    found = []
    for data, seed in sorted({key[:2] for key in of if key[2] == RIVAL}):
        if (data, seed, method) in of:
            steps, quality, *_ = of[data, seed, RIVAL][-1]
            mine = steps_to_target(of[data, seed, method], quality)
            found.append(mine and mine / steps)
    return found


def last_tenth(records: Records, method: str) -> dict[str, float]:
    """By domain the validation Dice that the last tenth of the steps brought, mean of runs."""
    gains = {}
    for looks, data in ((r["looks"], r["data"]) for r in _of(records, method)):
        steps, value, *_ = looks[-1]
        before = [v for step, v, *_ in looks if step <= 0.9 * steps]
        gains.setdefault(data, []).append(value - before[-1])
    return {data: mean(found) for data, found in sorted(gains.items())}


def curves_table(records: Records | None = None) -> str:
    """A row a method: in how many runs it reaches the rival's end, the median share of those, and
    its time."""
    records = recorded("curves") if records is None else records
    methods = [m for m in LABELS if any(r["method"] == m and r.get("looks") for r in records)]
    bench = measured("measurements/bench")["rows"]["nano"]
    rows = []
    for m in methods:
        step = bench[m]["step_ratio"] / bench[RIVAL]["step_ratio"]
        gains = ", ".join(f"{g:+.3f}" for g in last_tenth(records, m).values())
        rows.append([LABELS[m], *_passes(passes_to_target(records, m), step), gains])
    s, rival = records[-1]["setting"], LABELS[RIVAL]
    domains = " and ".join(sorted({r["data"] for r in records}))
    seeds = ", ".join(map(str, sorted({r["seed"] for r in records if r.get("looks")})))
    note = (
        f"{_goal_met(records)}Until the validation Dice is at least that of {rival} after all its "
        f"{s['steps']} steps, looked at every {s['looks']} steps on {domains}, seeds {seeds}: runs "
        f"that get there, and of these the median passes, as a share of {rival}'s whole "
        f"run; time: these, times what a step of the encoder takes beside {rival}'s in "
        f"the table of costs. Its own row tells how early it was once as good as at its end. Last "
        f"tenth: the mean gain of Dice in it, on {domains}.{_earlier(records)}"
    )
    head = table(("method", "gets there", "passes", "time", "last tenth"), rows)
    return f"{head}\n\n{note}\n\n{source(*records)}"


def _goal_met(records: Records) -> str:
    """In a sentence, whether the subject met its goal; empty where it never got there."""
    there = [share for share in passes_to_target(records, SUBJECT) if share]
    if not there:
        return ""
    met = "met" if median(there) <= GOAL else "missed"
    return f"{LABELS[SUBJECT]} was to need {GOAL:g} of {LABELS[RIVAL]}'s passes: {met}. "


def _passes(found: Sequence[float | None], step: float) -> list[str]:
    there = [share for share in found if share]
    middle = median(there) if there else None
    costs = [f"{middle:.2f}", f"{middle * step:.2f}"] if there else ["-", "-"]
    return [f"{len(there)} of {len(found)}", *costs]


# Costs


def cost_table(kept: Mapping | None = None) -> str:
    """Every method: size, start, what folds; its cost beside LoRA's (`bench`); what convolving
    adds to a step (`measure overhead`)."""
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
    parts = facts, _facts(kept["facts"]), times, _times(kept, big), floor
    return "\n\n".join([*parts, f"{source(kept)} {source(big)}", overhead()])


def _facts(facts: Mapping) -> str:
    names = "method", "nano", "ViT-B", "ViT-L", "ViT-H", "starts as base", "folds"
    rows = [
        [LABELS[name], *(f"{n:,}" for n in each["parameters"].values()),
         "no" if each["start_difference"] else "yes", each["folds"].partition(":")[0]]
        for name, each in facts.items()
    ]  # fmt: skip
    return table(names, rows)


def _times(kept: Mapping, big: Mapping) -> str:
    rows = []
    for name in kept["facts"]:
        row, larger = kept["rows"]["nano"][name], big["rows"]["vit_b"].get(name)
        cells = [f"{row[kind]:.2f}" for kind in ("step_ratio", "inference_ratio")]
        saved = f"{larger['saved_mb']:,.0f}" if larger else "-"
        rows.append([LABELS[name], *cells, f"{row['saved_mb']:.0f}", saved])
    return table(("method", "step", "inference", "saved", "saved ViT-B"), rows)


def _folded(rows: Mapping) -> str:
    """Inference of folded encoders beside the vanilla one, in a sentence."""
    ratios = ", ".join(f"{n} {r['inference_ratio']:.2f}" for n, r in rows.items() if n != "vanilla")
    return f"Folded, of a vanilla encoder's inference: {ratios}."


def overhead(name: str = "overhead") -> str:
    """What operators add to LoRA's step: a row a path, then the shares in words."""
    kept = measured(f"measurements/{name}")
    sizes = {SIZES[size]: each for size, each in kept["rows"].items()}
    rows = [[path, *(spread(each[path]) for each in sizes.values())] for path in PATHS]
    turns = f"Median (lowest to highest) of {kept['rounds']} turns, LoRA's step is 1. Released: "
    turns += "Conv-LoRA's published dispatch; fast: ours (lesson 06)."
    shares = (f"{size}: {shares_text(each)}." for size, each in sizes.items())
    return "\n\n".join([table(["a step", *sizes], rows), " ".join([turns, *shares]), source(kept)])


# The real size


def scale_table() -> str:
    """Attention's forms, plans, the embedding cache, and what a GPU took, as recorded."""
    parts = [*map(attention, WHERE), plans(), cache_saving(), gpu_table(), inference(), blocks()]
    return "\n\n".join([*parts, overhead("overhead_cuda")])


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
    head = table([f"attention {WHERE[name]}", *columns, "error"], rows)
    return f"{head}\n\n{note}\n\n{source(kept)}"


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
    head = table(names, [_leg(record) for record in records])
    return f"{head}\n\n{shares(records)} {source(*records)}"


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
    return f"{where} NAS-LoRA removes {' and '.join(told)} overhead over LoRA."


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
