"""Tables of the experiments: means, and differences paired by seed with their intervals.

An interval is `bootstrap.these_domains`: seeds are redrawn, and images within, the same ones for
both arms.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from naslora_workbook.lessons.exercises.lesson_09 import steadiness
from naslora_workbook.research.bootstrap import these_domains
from naslora_workbook.research.experiment_arms import EXPERIMENTS, FEW, SINGLES
from naslora_workbook.research.experiment_findings import noise_search
from naslora_workbook.research.experiment_runs import paired

_HOW = ("uniform", "searched", "joint_.1")
_BAD = [(f"bad{b}_{how}", f"bad{b}_uniform") for b in (0, 3, 6, 12) for how in _HOW[1:]]
_COST = [(f"bad{b}_{how}", f"bad0_{how}") for b in (3, 6, 12) for how in _HOW]
_ALONE = [f"single_{n}" for n in SINGLES]
CONTRASTS = {
    "bad_company": _BAD + _COST,
    "volume": [("volume_lora", "lora"), ("volume_searched", "searched"), ("searched", "lora"),
               ("volume_searched", "volume_lora"), ("volume_searched_.001", "searched_.001"),
               ("volume_fast_.001", "searched_.001")],
    "oracle": [(f"{a}_100_steps", "uniform_100_steps")
               for a in ("lora", "searched", "fixed_5x5", *_ALONE)],
    "preconditioner": [("tapwise_5x5", "uniform"), ("equal_5x5", "uniform"),
                       ("tapwise_5x5", "equal_5x5"), ("searched", "tapwise_5x5")],
    "decoder_rate": [(f"{m}{arm}{end}", f"{m}{end}") for m in ("searched", "lora")
                     for end in ("_100_steps", "")
                     for arm in ("_0.01", "_0.01_decoder_.003", "_decoder_.01")],
    "few_images": [(f"{a}{of}", f"lora{of}") for of in ("_of_4", "_of_16", "_of_64", "_100_steps")
                   for a in FEW if a != "lora"],
    "choice": [(f"settled_price_{p}", "settled") for p in ("0.1", "1")],
    "protocol_2": [("test_bad12_joint_.1", "test_bad12_uniform"),
                   ("test_bad0_uniform", "test_bad12_uniform"),
                   ("test_bad0_joint_.1", "test_bad0_uniform"),
                   ("test_bad0_joint_.1", "test_bad12_joint_.1")],
    "transfer": [("genotype_own", f"genotype_{n}") for n in ("other", "shuffled", "random")],
}  # fmt: skip


def table(experiment: str, runs: Mapping[str, dict]) -> str:
    """Markdown tables: every arm's IoU, every contrast by domain and over domains, every alpha."""
    mine = [r for r in runs.values() if _belongs(r, experiment)]
    return "\n".join([*_means(mine), "", *_differences(experiment, mine), "", *_alphas(mine)])


def _belongs(run: dict, experiment: str) -> bool:
    return any(run["domain"] == d and run["arm"] in arms for d, arms, _ in EXPERIMENTS[experiment])


def _means(runs: Sequence[dict]) -> Iterator[str]:
    yield "| domain | arm | seeds | IoU | lowest to highest | empty masks |"
    yield "|---|---|---|---|---|---|"
    for domain, arm in sorted({(r["domain"], r["arm"]) for r in runs}):
        found = [r for r in runs if (r["domain"], r["arm"]) == (domain, arm)]
        iou = [r["iou"] for r in found]
        empty = np.mean([r["empty"] for r in found])
        yield (
            f"| {domain} | {arm} | {len(iou)} | {np.mean(iou):.4f} | {min(iou):.4f} to "
            f"{max(iou):.4f} | {empty:.2f} |"
        )


def _differences(experiment: str, runs: Sequence[dict]) -> Iterator[str]:
    yield "| difference | domain | seeds | by seed | mean | 95 % interval | so |"
    yield "|---|---|---|---|---|---|---|"
    for arm, against in CONTRASTS[experiment]:
        parts = {d: paired(runs, d, arm, against) for d in dict.fromkeys(r["domain"] for r in runs)}
        parts = {d: v for d, v in parts.items() if len(v)}
        whole = {"all of these": list(parts.values())} if len(parts) > 1 else {}
        for name, found in ({d: [v] for d, v in parts.items()} | whole).items():
            yield f"| {arm} - {against} | {name} | {_row(found)} |"


def _alphas(runs: Sequence[dict]) -> Iterator[str]:
    """What alpha did in the arms that search: steadiness beside that of noise, and who won."""
    moved = [r for r in runs if "steadiness" in r]
    yield "| domain | arm | blocks | steadiness, median | above 95 % of noise | winners |"
    yield "|---|---|---|---|---|---|"
    for domain, arm in sorted({(r["domain"], r["arm"]) for r in moved}):
        found = [r for r in moved if (r["domain"], r["arm"]) == (domain, arm)]
        operators = len(found[0]["probability"][0])
        noise = steadiness(noise_search(found[0]["alpha_steps"], 0.02, operators))
        steady = np.array([v for r in found for v in r["steadiness"]])
        names = Counter(name for r in found for name in r["argmax"]).most_common(4)
        yield (
            f"| {domain} | {arm} | {len(steady)} | {np.median(steady):.3f} | "
            f"{(steady > np.quantile(noise, 0.95)).sum()} | "
            f"{', '.join(f'{n} {c}' for n, c in names)} |"
        )


def _row(parts: Sequence[np.ndarray]) -> str:
    found = these_domains(parts)
    each = ", ".join(f"{v:+.3f}" for d in parts for v in d.mean(1)) if len(parts) == 1 else ""
    seeds = " + ".join(str(len(d)) for d in parts)
    ends = f"{found.low:+.4f} to {found.high:+.4f}"
    return f"{seeds} | {each} | {found.mean:+.4f} | {ends} | {found.words}"
