"""Tables of results, made from recorded files alone."""

import json
from pathlib import Path
from statistics import mean

from naslora_workbook.publishing.sources import CORE, earlier, recorded, runs, source
from naslora_workbook.research.operator_recovery import PLANTS, Race, rate
from naslora_workbook.research.rates import best_rates, tried
from naslora_workbook.results.labels import LABELS

COLUMNS = ("box", "ellipse", "click", "disc", "ceiling")


def hero(core: Path = CORE) -> str:
    """The figure of the README's first screen, with what made it; empty until it was made."""
    kept = recorded(core, "hero.json")
    if not kept:
        return ""
    return (
        f"![{kept['alt']}](naslora_workbook/results/hero.png)\n\n{kept['caption']} {source(kept)}"
    )


def base_table(core: Path = CORE) -> str:
    """What `sam_nano` reaches unadapted, on its own scenes and on recorded sets of photographs."""
    photographs = recorded(core, "base_table.json")
    card = json.loads((core / "weights" / "sam_nano.json").read_text())
    rows = [("its own scenes", card["table"])]
    rows += sorted(photographs.get("rows", {}).items())
    head = f"| data | objects | {' | '.join(COLUMNS)} |\n{'|---' * (len(COLUMNS) + 2)}|"
    lines = [_line(name, row["objects"], [row[c] for c in COLUMNS]) for name, row in rows]
    split = f" Photographs: the {photographs['split']} splits." if len(rows) > 1 else ""
    found = f" {source(photographs)}" if photographs else ""
    return "\n".join([head, *lines, "", _seen(card) + split + found])


def _line(name: str, count: int, values: list[float]) -> str:
    return f"| {name} | {count} | " + " | ".join(f"{v:.3f}" for v in values) + " |"


def _seen(card: dict) -> str:
    p = card["provenance"]
    return (
        f"After {card['scenes_seen']:,} scenes and {card['training_minutes']:.0f} minutes on "
        f"{p['device']}, {p['date']}, commit `{p['commit']}`."
    )


def method_table(name: str = "kvasir_polyp", core: Path = CORE) -> str:
    """Test Dice of every method, seed by seed, of one recorded comparison."""
    records = runs(core, name)
    if not records:
        return ""
    rows = []
    for method, label in LABELS.items():
        mine = sorted((r for r in records if r["method"] == method), key=lambda r: r["seed"])
        if not mine:
            continue
        dice, iou = ([r["mean"][k] for r in mine] for k in ("dice", "iou"))
        seeds = ", ".join(f"{d:.3f}" for d in dice)
        rows.append(f"| {label} | {mean(dice):.3f} | {mean(iou):.3f} | {seeds} |")
    one = records[-1]
    s, reach = one["setting"], one["ceiling_iou"]
    note = (
        f"{len(one['images'])} test images of {one['data']}; {s['steps']} steps of {s['batch']} "
        f"images a method in {s.get('precision', 'fp32')}; ceiling of 64 x 64 masks {reach:.3f} "
        f"IoU; each at its own learning rate (`results/rates/`).\n\n{source(*records)}"
    )
    return "\n".join(["| method | Dice | IoU | Dice by seed |\n|---|---|---|---|", *rows, "", note])


def development_table(core: Path = CORE) -> str:
    """Validation IoU of every method on the development domains, at equal passes."""
    records = runs(core, "methods")
    if not records:
        return ""
    domains = sorted({r["data"] for r in records})
    rows = [_development_line(m, records, domains) for m in LABELS]
    s = records[-1]["setting"]
    head = f"| method | learning rate | {' | '.join(domains)} |\n{'|---' * (len(domains) + 2)}|"
    note = (
        f"Validation IoU, mean over seeds (lowest to highest), {s['steps']} steps of {s['batch']} "
        f"images in {s['precision']}.{_collapsed(records)} {_tried(core)}\n\n{source(*records)}"
    )
    return "\n".join([head, *filter(None, rows), "", note])


def _tried(core: Path) -> str:
    """In a sentence, how each method's learning rate was chosen."""
    trials = tried(core / "results" / "rates")
    grid = sorted({rate for of in trials.values() for rate in of})
    chosen = best_rates(core / "results" / "rates").values()
    ends = sum(rate in (grid[0], grid[-1]) for rate in chosen)
    rates = ", ".join(f"{rate:g}" for rate in grid)
    return (
        f"The learning rate is the best of {rates} on camouflage with another seed "
        f"(`results/rates/`); of {len(trials)} best ones {ends or 'none'} lie at an end of these."
    )


def _collapsed(records: list[dict]) -> str:
    """The runs that ended without a single right pixel, in a sentence."""
    runs = [f"{LABELS[r['method']]} on {r['data']}" for r in records if not r["mean"]["iou"]]
    return f" Runs that drew nothing right: {', '.join(runs)}." if runs else ""


def _development_line(method: str, records: list[dict], domains: list[str]) -> str:
    mine = [r for r in records if r["method"] == method]
    if not mine:
        return ""
    cells = [_spread([r["mean"]["iou"] for r in mine if r["data"] == d]) for d in domains]
    rate = "" if method == "base_boxed" else f"{mine[0]['setting']['lr']:g}"
    return f"| {LABELS[method]} | {rate} | {' | '.join(cells)} |"


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return "".join(f"{v:.3f} (one run)" for v in values)
    seeds = "" if len(values) == 3 else f", {len(values)} seeds"
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f}{seeds})"


def planted_table(core: Path = CORE) -> str:
    """How often each reading of a search names the cheapest class that fits what was planted."""
    rows, notes = [], []
    for place, label in (("cell", "a cell alone"), ("sam_nano", "inside `sam_nano`")):
        kept = runs(core, f"planted_{place}")
        if not kept:
            continue
        races = [Race(**r) for record in kept for r in record["races"]]
        each = (rate(races, reading) for reading in ("projection", "argmax"))
        hits = " | ".join(f"{r['hits']:.0%} (by chance {r['chance']:.0%})" for r in each)
        rows.append(f"| {label} | {len(races)} | {hits} |")
        whole = 5 * len(PLANTS)
        part = f"{len(kept)}" + f" of {whole}" * (len(kept) < whole)
        made_on = earlier(kept) if place == "sam_nano" else ""
        notes.append(f"{label.capitalize()}, {part} searches: {source(*kept)}{made_on}")
    if not rows:
        return ""
    head = "| planted in | operators | projection | argmax alpha |\n|---|---|---|---|"
    note = "\n\n".join(["By chance: the same readings dealt out at random.", *notes])
    return "\n".join([head, *rows, "", note])
