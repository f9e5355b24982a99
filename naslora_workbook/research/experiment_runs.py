"""The experiments' packed runs: IoU by arm, differences by seed and image, tables of both."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from naslora_workbook.lessons.exercises.lesson_09 import steadiness
from naslora_workbook.research.bootstrap import Interval, nested, seeds_and_images, these_domains
from naslora_workbook.results.labels import markdown
from naslora_workbook.results.records import experiments, recorded


def experiment(*names: str) -> list[dict]:
    """All packed runs of these experiments ("volume", "oracle", ...)."""
    return [run for name in names for run in recorded(f"experiments/{name}")]


def packed() -> dict[str, list[dict]]:
    """The packed runs of every experiment that has some."""
    parts = [n for n in experiments() if n.startswith("experiments/")]
    return {n.partition("/")[2]: [r for r in recorded(n) if "arm" in r] for n in parts}


def iou(runs: Iterable[dict], domain: str, arm: str) -> list[float]:
    """IoU of an arm on a domain, seed by seed."""
    found = {r["seed"]: r["iou"] for r in runs if (r["domain"], r["arm"]) == (domain, arm)}
    return [found[seed] for seed in sorted(found)]


def paired(runs: Iterable[dict], domain: str, arm: str, against: str) -> np.ndarray:
    """IoU of `arm` minus that of `against`, `seeds images`, of the seeds that both have."""
    of = {(r["arm"], r["seed"]): r["each"] for r in runs if r["domain"] == domain}
    seeds = sorted(s for a, s in of if a == arm and (against, s) in of)
    return np.array([np.subtract(of[arm, s], of[against, s]) for s in seeds])


def chosen_elsewhere(
    runs: Sequence[dict], domain: str, arms: Sequence[str], against: str
) -> np.ndarray:
    """IoU of the arm that did best on the other seeds minus that of `against`, `seeds images`."""
    scores = np.stack([paired(runs, domain, arm, against) for arm in arms])
    means = scores.mean(2)
    best = (means.sum(1, keepdims=True) - means).argmax(0)  # without the seed that is scored
    return scores[best, range(len(best))]


def contrast(
    runs: Iterable[dict], domain: str, arm: str, against: str, level: float = 0.95
) -> Interval:
    """The mean difference with its interval: seeds redrawn, and images within."""
    return seeds_and_images(paired(runs, domain, arm, against), level)


def over_domains(runs: Sequence[dict], arm: str, against: str, level: float = 0.95) -> Interval:
    """The mean difference with its interval: domains redrawn, and seeds within."""
    domains = sorted({r["domain"] for r in runs})
    return nested({d: paired(runs, d, arm, against).mean(1) for d in domains}, level)


def table(experiment: str, runs: Iterable[dict]) -> str:
    """Markdown tables: every arm's IoU, every contrast by domain and over domains, every alpha."""
    from naslora_workbook.research.experiment_arms import CONTRASTS, EXPERIMENTS

    asked = {(domain, arm) for domain, arms, _ in EXPERIMENTS[experiment] for arm in arms}
    mine = [r for r in runs if (r["domain"], r["arm"]) in asked]
    means = "domain", "arm", "seeds", "IoU", "lowest to highest", "empty masks"
    differences = "difference", "domain", "seeds", "by seed", "mean", "95 % interval", "so"
    alphas = "domain", "arm", "blocks", "steadiness, median", "above 95 % of noise", "winners"
    return "\n\n".join([
        markdown(means, _by_arm(mine, _mean)),
        markdown(differences, _differences(CONTRASTS[experiment], mine)),
        markdown(alphas, _by_arm([r for r in mine if "steadiness" in r], _alpha)),
    ])  # fmt: skip


def _by_arm(runs: Sequence[dict], cells: Callable) -> Iterator[list[str]]:
    """A row for each domain and arm, the rest of it from the arm's runs."""
    for domain, arm in sorted({(r["domain"], r["arm"]) for r in runs}):
        found = [r for r in runs if (r["domain"], r["arm"]) == (domain, arm)]
        yield [domain, arm, *cells(found)]


def _mean(runs: Sequence[dict]) -> list[str]:
    iou, empty = ([r[key] for r in runs] for key in ("iou", "empty"))
    ends = f"{min(iou):.4f} to {max(iou):.4f}"
    return [str(len(iou)), f"{np.mean(iou):.4f}", ends, f"{np.mean(empty):.2f}"]


def _differences(pairs: Sequence, runs: Sequence[dict]) -> Iterator[list[str]]:
    domains = dict.fromkeys(r["domain"] for r in runs)
    for arm, against in pairs:
        parts = {d: found for d in domains if len(found := paired(runs, d, arm, against))}
        rows = {d: [found] for d, found in parts.items()}
        rows |= {"all of these": list(parts.values())} if len(parts) > 1 else {}
        for name, found in rows.items():
            yield [f"{arm} - {against}", name, *_difference(found)]
        if len(parts) > 1:
            whole = over_domains([r for r in runs if r["domain"] in parts], arm, against)
            yield [f"{arm} - {against}", "domains like these", *_told(whole)]


def _difference(parts: Sequence[np.ndarray]) -> list[str]:
    found = these_domains(parts)
    seeds = " + ".join(str(len(part)) for part in parts)
    each = ", ".join(f"{v:+.3f}" for v in parts[0].mean(1)) if len(parts) == 1 else ""
    return _told(found, seeds, each)


def _told(found: Interval, seeds: str = "", each: str = "") -> list[str]:
    ends = f"{found.low:+.4f} to {found.high:+.4f}"
    return [seeds, each, f"{found.mean:+.4f}", ends, found.words]


def _alpha(runs: Sequence[dict]) -> list[str]:
    """What alpha did in an arm that searches: its steadiness beside that of noise, and who won."""
    noise = steadiness(noise_search(runs[0]["alpha_steps"], 0.02, len(runs[0]["probability"][0])))
    steady = np.array([v for r in runs for v in r["steadiness"]])
    winners = Counter(name for r in runs for name in r["argmax"]).most_common(4)
    above = (steady > np.quantile(noise, 0.95)).sum()
    named = ", ".join(f"{name} {count}" for name, count in winners)
    return [str(len(steady)), f"{np.median(steady):.3f}", str(above), named]


def noise_search(steps: int, rate: float, n: int, draws: int = 500) -> np.ndarray:
    """Probabilities `steps draws n` of alphas whose gradients are noise (lesson 09's control)."""
    alpha = torch.nn.Parameter(torch.zeros(draws, n, dtype=torch.float64))
    adam = torch.optim.AdamW([alpha], rate, betas=(0.5, 0.999), weight_decay=1e-3)
    noise, found = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        g = torch.randn(draws, n, generator=noise, dtype=torch.float64)
        alpha.grad = g - g.mean(1, keepdim=True)
        adam.step()
        found.append(alpha.detach().softmax(1))
    return torch.stack(found).numpy()
