"""The registered comparison as tables: the subject's leads, and every method on every domain."""

from collections.abc import Mapping
from functools import cache
from statistics import mean, median

import torch

from naslora_core.adapters import adapt
from naslora_core.adapters.discretisation import ChosenLoRA
from naslora_core.sam import build_nano
from naslora_workbook.publishing.result_tables import Records, of_method, source, table
from naslora_workbook.research import preregistration as registry
from naslora_workbook.results.labels import LABELS

METRICS = {"iou": "IoU", "dice": "Dice"}
COMMAND = "python -m naslora_core protocol"


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
    made = source(*records, commands=[COMMAND])
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
        for method, of in means(records, protocol).items()
    ]
    made = source(*records, commands=[COMMAND])
    return "\n\n".join([title, table(names, rows), made])


def means(records: Records, protocol) -> dict[str, dict[str, float]]:
    """By method, the base with boxes first, and domain: the mean over its runs."""
    found = {}
    for method in ("base_boxed", *protocol.methods):
        for r in of_method(records, method):
            values = found.setdefault(method, {}).setdefault(r["data"], [])
            values.append(r["mean"][protocol.metric])
    return {m: {d: mean(values) for d, values in of.items()} for m, of in found.items()}


def _asked(protocol, records):
    protocol = protocol or registry.read()
    return protocol, registry.results(protocol) if records is None else records


def trained(records: Records, method: str) -> str:
    """Trained numbers in the encoder, least to most; of the U-Net, which has no SAM, all."""
    count = "trained_parameters"
    decoder = {r["data"]: r[count] for r in records if r["method"] == "decoder_only"}
    runs = [r for r in of_method(records, method) if count in r]
    return _ends({r[count] - (method != "unet") * decoder[r["data"]] for r in runs})


def chosen(records: Records, method: str) -> str:
    """The same with one operator a block, as projection reads it; empty where no whole cell
    was searched."""
    runs = [r for r in of_method(records, method) if r.get("genotype")]
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
