"""The figure of the README's first screen: one training of now, and the recorded comparison."""

from naslora_core.adapters import METHODS, adapt, cells
from naslora_core.data import open_data
from naslora_core.sam import load_sam
from naslora_core.training.evaluation import evaluate
from naslora_core.training.fitting import fit
from naslora_core.training.prompts import box_of, components
from naslora_workbook import figures as figures
from naslora_workbook.lessons.profiles import profile
from naslora_workbook.research.commands import command_line
from naslora_workbook.research.compare import paired, recorded
from naslora_workbook.research.learning_rate_selection import best_rates
from naslora_workbook.research.provenance import provenance
from naslora_workbook.results.records import RESULTS, keep


def make(steps: int, seed: int, domain: str = "camouflage") -> None:
    """Train NAS-LoRA as the recorded comparison does; draw its median validation image beside the
    paired seeds of that comparison; write `results/hero.png` and what belongs to it."""
    data, sam = open_data(domain, profile("laptop")), load_sam()
    model = adapt(sam, METHODS["nas_lora"], seed=seed)
    rate = best_rates("rates")["nas_lora"]
    result = fit(model, data, steps=steps, lr=rate, seed=seed, precision="bf16")
    boxed, adapted = evaluate(sam, data.val, "box"), evaluate(model, data.val)
    i = adapted.median_image
    shown = data.val[i]
    picture = figures.story(
        shown.image,
        shown.mask,
        [box_of(part) for part in components(shown.mask > 0)],
        boxed.masks[i],
        adapted.masks[i],
        (boxed.dice[i], adapted.dice[i]),
        result.genotype,
        {name: cell.kernel().detach() for name, cell in cells(model).items()},
        _differences(),
    )
    picture.save(RESULTS / "hero.png")
    caption = (
        f"Above: an image of {domain} (drawn; of the validation images the one whose Dice is the "
        f"median), with true boxes given, and, after {steps} steps of training, without any "
        "prompt. Below, left: the weights of the nine operators in each block of the encoder, and "
        "the one that explains the trained mixture (projection). Right: NAS-LoRA minus LoRA, a "
        "dot a seed (`naslora_workbook/results/methods`); the interval is Student's."
    )
    record = {"alt": picture.alt, "caption": caption, "provenance": provenance(command_line())}
    keep("measurements/hero", [record])


def _differences() -> dict[str, list[float]]:
    """Dice of NAS-LoRA minus LoRA by domain, one a seed."""
    records = recorded("methods")
    domains = sorted({r["data"] for r in records})
    each = {d: [r for r in records if r["data"] == d] for d in domains}
    return {d: paired(mine, "nas_lora", "lora").tolist() for d, mine in each.items()}
