"""The registered verdict as a table, and what the README says was found: sentences whose numbers
are read from the records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from naslora_workbook.publishing.result_tables import of_method, paragraphs, source
from naslora_workbook.research import preregistration as registry
from naslora_workbook.research.benchmarks.gpu_steps import Leg
from naslora_workbook.research.bootstrap import Interval, nested
from naslora_workbook.research.experiment_runs import contrast, experiment, over_domains
from naslora_workbook.results.labels import LABELS, markdown
from naslora_workbook.results.records import recorded

METRICS = {"iou": "IoU", "dice": "Dice"}
COMMAND = "python -m naslora_core protocol"
RIVALS = ("full", "lora", "conv_lora", "fixed_conv", "fixed_5x5", "nas_uniform", "random_operator")
LEGS = {  # a training step on the GPU: what, and the leg's name
    "NAS-LoRA": "vit_b_1024-nas_lora-b2-fast-bf16",
    "the released Conv-LoRA": "vit_b_1024-conv_lora_released-b2-fast-bf16",
}


def registered_table(path: Path = registry.FILE) -> str:
    """The subject's leads and whether the goal is met; below, every method's score by domain."""
    protocol, records = registry.registered(path)
    found, s = registry.verdict(records, protocol), protocol.setting
    names = [f"{LABELS[protocol.subject]} minus", "all domains", "test domains", "above zero"]
    rows = [_lead(LABELS[rival], row, protocol) for rival, row in found.items()]
    claims = registry.goal(found, protocol.name).items()
    met = "; ".join(f"{claim}: **{'yes' if holds else 'no'}**" for claim, holds in claims)
    goal = f"The goal that the protocol names (surely: by an interval without zero): {met}."
    note = (
        f"Test {METRICS[protocol.metric]} of {len(protocol.domains)} domains "
        f"({', '.join(protocol.test)} were never used for a choice) with {len(protocol.seeds)} "
        f"seeds each, {s.steps} steps of {s.batch} images; {protocol.level:.0%} intervals by "
        "bootstrap over domains and seeds; above and below zero: domains whose own interval is."
    )
    head, from_records = markdown([*names, "below"], rows), source(*records, commands=[COMMAND])
    return paragraphs(head, goal, note, _by_domain(records, protocol), from_records)


def _lead(label: str, row: Mapping, protocol: registry.Protocol) -> list[str]:
    above = sum(row[name].low > 0 for name in protocol.domains)
    return [label, str(row["all"]), str(row["test"]), str(above), str(len(registry.behind(row)))]


def _by_domain(records: Sequence[Mapping], protocol: registry.Protocol) -> str:
    """Mean score of every method on every domain, over seeds."""
    rows, metric = [], protocol.metric
    for method in ("base_boxed", *protocol.methods):
        mine = of_method(records, method)
        on = [[r["mean"][metric] for r in mine if r["data"] == d] for d in protocol.domains]
        means = [mean(scores) for scores in on]
        rows.append([LABELS[method], *(f"{value:.3f}" for value in (*means, mean(means)))])
    return markdown(("mean over seeds", *protocol.domains, "all"), rows)


def leads() -> dict[str, Interval]:
    """Rival's label -> NAS-LoRA minus the rival over all domains of the registered comparison."""
    protocol, records = registry.registered()
    table = registry.verdict(records, protocol)
    return {LABELS[rival]: table[rival]["all"] for rival in RIVALS}


def verdict_title(found: Mapping[str, Interval]) -> str:
    """The registered verdict in one clause."""
    above = [rival for rival, interval in found.items() if interval.low > 0]
    below = [rival for rival, interval in found.items() if interval.high < 0]
    told = [f"above {', '.join(above)}"] if above else []
    told += [f"below {', '.join(below)}"] if below else []
    unsure = len(found) - len(above) - len(below)
    tail = f"{unsure} of {len(found)} rivals: we cannot tell"
    return f"NAS-LoRA scores {' and '.join(told)}; {tail}" if told else f"NAS-LoRA: {tail}"


def findings() -> str:
    """Five sentences, a list."""
    found = leads()
    words = _gain(), registered_leads(found), _neighbours(), _search(found), _price()
    return "\n".join(f"- {sentence}" for sentence in words)


def _gain() -> str:
    """What adapting the encoder adds over the registered domains, and a U-Net beside it."""
    protocol, records = registry.registered()

    def iou(method: str) -> float:  # domains have equally many seeds
        return mean(r["mean"]["iou"] for r in of_method(records, method))

    leads = registry.differences(records, protocol, "lora", "unet")
    words = [nested({name: each}).words for name, each in leads.items()]
    return (
        f"LoRA in the encoder raises the mean test IoU of {len(leads)} domains from "
        f"{iou('decoder_only'):.2f} (decoder alone) to {iou('lora'):.2f}; the untrained base with "
        f"a box on every object reaches {iou('base_boxed'):.2f}. A small U-Net from random "
        f"weights, trained on the same images, is ahead of LoRA on {words.count('better')} of "
        f"these domains and behind on {words.count('worse')} (each at level .95)."
    )


def registered_leads(found: Mapping[str, Interval]) -> str:
    """What the registered comparison says of the rivals in the papers, and of full fine-tuning."""
    rivals = LABELS["conv_lora"], LABELS["lora"], LABELS["full"]
    parts = (f"minus {name}: {found[name]}, {found[name].words}" for name in rivals)
    return f"Registered, eight domains, five seeds, IoU: NAS-LoRA {'; '.join(parts)}."


def _neighbours() -> str:
    """What the cell adds where one token tells nothing."""
    runs, arms = experiment("heterogeneous"), ("searched", "uniform")
    gain, frozen = (
        contrast(runs, "neighbours", f"{arm}_100_steps", "lora_100_steps") for arm in arms
    )
    return (
        "On a domain drawn so that single tokens tell nothing about the object (three seeds, 100 "
        f"steps), NAS-LoRA minus LoRA: {gain} IoU, {gain.words}. With equal weights for all "
        f"operators, minus LoRA: {frozen}, {frozen.words}."
    )


def _search(found: Mapping[str, Interval]) -> str:
    """What a search adds: among good candidates, and (second registration) among bad ones."""
    uniform, fixed = found[LABELS["nas_uniform"]], found[LABELS["fixed_5x5"]]
    arms = "test_bad12_joint_.1", "test_bad12_uniform"
    bad = over_domains(experiment("protocol_2"), *arms)
    return (
        f"NAS-LoRA minus the same model with equal weights for all operators: {uniform} IoU, "
        f"{uniform.words}. Minus a fixed 5x5: {fixed}, {fixed.words}. Where 12 of 18 operators "
        "were put in to hurt (registered, four domains, five seeds), a search at a high rate of "
        f"alpha minus equal weights: {bad}, {bad.words}."
    )


def _price() -> str:
    legs = {Leg(**r["leg"]).name: r for r in recorded("measurements/gpu")}
    timed = {what: legs[name] for what, name in LEGS.items()}
    date = max(leg["provenance"]["date"] for leg in timed.values())
    told = " and ".join(
        f"{leg['ms']:.0f} ms for {what} ({leg['ratio']:.2f} times LoRA's)"
        for what, leg in timed.items()
    )
    return (
        f"A training step of vit_b at 1024 pixels, two images in bf16, takes {told}. "
        f"Each was timed in turn with LoRA (one H200, {date}; not measured since)."
    )
