"""The README's figure: one training of now, what it trains, and the registered verdict."""

import numpy as np

from naslora_core.adapters import METHODS, adapt
from naslora_core.data import open_data
from naslora_core.files import write_atomic
from naslora_core.sam import load_sam
from naslora_core.training.evaluation import evaluate
from naslora_core.training.fitting import fit
from naslora_core.training.prompts import box_of, components
from naslora_workbook.figures.registered import front_page
from naslora_workbook.lessons.profiles import profile
from naslora_workbook.publishing.registered_tables import leads, verdict_title
from naslora_workbook.research.learning_rate_selection import best_rates
from naslora_workbook.research.preregistration import FILE
from naslora_workbook.research.provenance import command_line, provenance
from naslora_workbook.results.records import RESULTS, keep


def make(steps: int, seed: int, domain: str = "camouflage") -> None:
    """Train NAS-LoRA as the recorded comparison does; draw its median validation image, the cell
    that was trained and the registered verdict; write `results/hero.png` and what belongs to it."""
    data, sam = open_data(domain, profile("laptop")), load_sam()
    model = adapt(sam, METHODS["nas_lora"], seed=seed)
    rate = best_rates("rates")["nas_lora"]
    fit(model, data, steps=steps, lr=rate, seed=seed, precision="bf16")
    boxed, adapted = evaluate(sam, data.val, "box"), evaluate(model, data.val)
    i = adapted.median_image
    shown = data.val[i]
    picture = front_page(
        shown.image,
        shown.mask,
        np.array([box_of(part) for part in components(shown.mask > 0)]),
        (boxed.masks[i], adapted.masks[i]),
        (boxed.dice[i], adapted.dice[i]),
        leads(),
        verdict_title(leads()),
    )
    write_atomic(RESULTS / "hero.png", picture.png)
    caption = (
        f"Above: one validation image of {domain} (drawn), the one with the median Dice, after "
        f"{steps} training steps, one seed. Middle: what NAS-LoRA trains beside the frozen qkv of "
        f"every block; its bars are an example. Below: the registered comparison (`{FILE.name}`)."
    )
    record = {"alt": picture.alt, "caption": caption, "provenance": provenance(command_line())}
    keep("measurements/hero", [record])
