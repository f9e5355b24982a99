"""Tables of recorded runs: what the base reaches, every method, how soon, what was planted."""

from collections.abc import Mapping, Sequence
from statistics import mean, median

from naslora_core.sam.checkpoints import manifest
from naslora_workbook.research.learning_rate_selection import best_rates, tried
from naslora_workbook.research.operator_recovery import PLANTS, Race, rate
from naslora_workbook.research.pretraining.weights import in_use, latest
from naslora_workbook.results.labels import LABELS, markdown
from naslora_workbook.results.records import measured, recorded

Records = Sequence[Mapping]
COLUMNS = ("box", "ellipse", "click", "disc", "ceiling")
RIVAL, SUBJECT, GOAL = "conv_lora", "nas_lora", 0.5  # half of the rival's passes


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


def _earlier(records: Records) -> str:
    """A sentence where records were not all made on the weights in use; else empty."""
    if {r["base"] for r in records} == {in_use()}:
        return ""
    return " All of it on an earlier `sam_nano`, and on the domains as they were drawn then."


def figure() -> str:
    """The picture of the README's first screen, with its caption and what made it."""
    hero = measured("measurements/hero")
    picture = f"![{hero['alt']}](naslora_workbook/results/hero.png)"
    return paragraphs(picture, f"{hero['caption']} {source(hero)}")


def base_table() -> str:
    """What `sam_nano` reaches unadapted, on its own scenes and on recorded sets of photographs."""
    photographs, card = measured("measurements/base_table"), manifest(latest())
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
    one = records[-1]
    s = one["setting"]
    note = (
        f"{len(one['images'])} test images of {one['data']}; {s['steps']} steps of {s['batch']} "
        f"images a method in {s['precision']}; ceiling of 64 x 64 masks {one['ceiling_iou']:.3f} "
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
    head = markdown(("planted in", "operators", "projection", "argmax alpha"), rows)
    return paragraphs(head, "By chance: the same readings dealt out at random.", *notes)


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
    for r in of_method(records, method):
        steps, value, *_ = r["looks"][-1]
        before = [v for step, v, *_ in r["looks"] if step <= 0.9 * steps]
        gains.setdefault(r["data"], []).append(value - before[-1])
    return {data: mean(found) for data, found in sorted(gains.items())}


def curves_table(records: Records | None = None) -> str:
    """A row a method: in how many runs it reaches the rival's end, the median share of those, and
    its time."""
    records = recorded("curves") if records is None else records
    bench, rows = measured("measurements/bench")["rows"]["nano"], []
    for method, label in LABELS.items():
        if any(r.get("looks") for r in of_method(records, method)):
            found = passes_to_target(records, method)
            there = [share for share in found if share]
            step = bench[method]["step_ratio"] / bench[RIVAL]["step_ratio"]
            middle = [median(there), median(there) * step] if there else []
            costs = [f"{value:.2f}" for value in middle] or ["-", "-"]
            gains = ", ".join(f"{gain:+.3f}" for gain in last_tenth(records, method).values())
            rows.append([label, f"{len(there)} of {len(found)}", *costs, gains])
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
    head = markdown(("method", "gets there", "passes", "time", "last tenth"), rows)
    return paragraphs(head, note, source(*records))


def _goal_met(records: Records) -> str:
    """In a sentence, whether the subject met its goal; empty where it never got there."""
    there = [share for share in passes_to_target(records, SUBJECT) if share]
    if not there:
        return ""
    met = "met" if median(there) <= GOAL else "missed"
    return f"{LABELS[SUBJECT]} was to need {GOAL:g} of {LABELS[RIVAL]}'s passes: {met}. "
