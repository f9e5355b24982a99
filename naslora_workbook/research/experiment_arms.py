"""The arms that the experiments compare; `results/experiments.yml` says which runs which, where.

Learning rates: recorded trials (camouflage, seed 100, 200 steps) put LoRA, Conv-LoRA, fixed 3x3 and
NAS-PC-LoRA at .003. NAS-LoRA's .001 and the U-Net's .01 are ahead of their .003 by .003, so they
run at .003 too, and pairs are at one rate. Arms without a trial take .003 of their nearest
relative, LoRA with an operator.

Steps: 200, but 100 where the name says so, and for all arms with few images.
"""

from dataclasses import dataclass, replace

import yaml

from naslora_core.adapters import NASLoRA
from naslora_core.search import OPERATOR_SETS
from naslora_workbook.research.experiment_methods import (
    BAD,
    PricedNASLoRA,
    VolumeLoRA,
    VolumeNASLoRA,
    other_genotype,
    own_genotype,
    random_genotype,
    shuffled_genotype,
)
from naslora_workbook.research.methods import METHODS
from naslora_workbook.results.records import RESULTS

SEEDS = (0, 1, 2)
REGISTERED = "protocol_2"  # results/protocol_2.yml: its test images, once it is committed
ASKED = yaml.safe_load((RESULTS / f"{REGISTERED}.yml").read_text())


@dataclass(frozen=True)
class Arm:
    """A method (an object, a name of METHODS or VARIANTS, or a function of domain and seed that
    gives one) and how it is trained.

    decoder_lr: where the decoder has a rate of its own. settle: steps of weights alone after the
    choice, for the mixture and for either reading of it. split: whose images are scored, "val", or
    "test" in the registered experiment alone.
    """

    method: object
    schedule: str = "weights"
    lr: float = 3e-3
    alpha_lr: float = 0.02
    decoder_lr: float | None = None
    images: int = 256
    steps: int = 200
    settle: int = 0
    split: str = "val"


SINGLES = [f"single_{n}" for n in OPERATOR_SETS["linear"] if n != "none"]  # that would be LoRA
ARMS = {
    "lora": Arm("lora"),
    "conv_lora": Arm("conv_lora"),
    "fixed_3x3": Arm("fixed_conv"),
    "fixed_5x5": Arm("fixed_5x5"),
    "uniform": Arm("nas_uniform"),
    "searched": Arm("nas_lora", "stage-wise"),
    "searched_.001": Arm("nas_lora", "stage-wise", lr=1e-3),
    "unet": Arm("unet"),
    "tapwise_5x5": Arm(NASLoRA(operators=("tapwise_5x5",), searches=False)),
    "equal_5x5": Arm(NASLoRA(operators=("equal_5x5",), searches=False)),
    "volume_lora": Arm(VolumeLoRA()),
    "volume_searched": Arm(VolumeNASLoRA(), "stage-wise"),
    "volume_searched_.001": Arm(VolumeNASLoRA(), "stage-wise", lr=1e-3),
    "volume_fast_.001": Arm(VolumeNASLoRA(pace=20.0), "stage-wise", lr=1e-3),
    "genotype_own": Arm(own_genotype, steps=100),
    "genotype_other": Arm(other_genotype, steps=100),
    "genotype_shuffled": Arm(shuffled_genotype, steps=100),
    "genotype_random": Arm(random_genotype, steps=100),
} | {name: Arm(name) for name in SINGLES}

for bad in (0, 3, 6, 12):  # shares 0, 1/3, 1/2, 2/3
    space = NASLoRA(rank=4, place="map", operators=OPERATOR_SETS["wide"] + BAD[:bad])
    ARMS[f"bad{bad}_uniform"] = Arm(replace(space, searches=False))
    ARMS[f"bad{bad}_searched"] = Arm(space, "stage-wise")
    ARMS[f"bad{bad}_joint_.1"] = Arm(space, "joint", alpha_lr=0.1)

for name in ASKED["arms"]:
    ARMS[name] = replace(ARMS[name.removeprefix("test_")], split="test")

for base in ("lora", "searched", "fixed_3x3"):
    for lr in (1e-2, 3e-2):
        ARMS[f"{base}_{lr:g}"] = replace(ARMS[base], lr=lr)
        ARMS[f"{base}_{lr:g}_decoder_.003"] = replace(ARMS[base], lr=lr, decoder_lr=3e-3)
        ARMS[f"{base}_{lr:g}_decoder_.001"] = replace(ARMS[base], lr=lr, decoder_lr=1e-3)
ARMS["lora_decoder_.01"] = Arm("lora", decoder_lr=1e-2)
ARMS["searched_decoder_.01"] = replace(ARMS["searched"], decoder_lr=1e-2)

COLLAPSE = ("searched_0.01", "searched_0.01_decoder_.003", "searched_decoder_.01")
FEW = ("lora", "conv_lora", "fixed_3x3", "searched", "unet")
for name in ("uniform", "fixed_5x5", *COLLAPSE, *FEW, *SINGLES):
    ARMS[f"{name}_100_steps"] = replace(ARMS[name], steps=100)
for name in FEW:
    ARMS |= {f"{name}_of_{n}": replace(ARMS[name], images=n, steps=100) for n in (4, 16, 64)}

WHERE = {
    "rank_2": {"rank": 2},
    "rank_16": {"rank": 16},
    "early": {"blocks": (0, 1, 2)},
    "late": {"blocks": "late-3"},
    "global": {"blocks": "global"},
}
for base in ("lora", "searched"):
    for name, change in WHERE.items():
        method = replace(METHODS[ARMS[base].method], **change)
        ARMS[f"{base}_{name}_100_steps"] = replace(ARMS[base], method=method, steps=100)

ARMS["settled"] = replace(ARMS["searched"], steps=100, settle=40)
for price in (0.1, 1.0):
    ARMS[f"settled_price_{price:g}"] = replace(ARMS["settled"], method=PricedNASLoRA(price=price))


LISTED = yaml.safe_load((RESULTS / "experiments.yml").read_text())
EXPERIMENTS = {  # of each: domain, arms, seeds; the first that are listed are the first that run
    name: [(domain, part["arms"], SEEDS) for part in one["runs"] for domain in part["domains"]]
    for name, one in LISTED.items()
    if name != REGISTERED
}
EXPERIMENTS[REGISTERED] = [(domain, ASKED["arms"], ASKED["seeds"]) for domain in ASKED["domains"]]
CONTRASTS = {  # of each: an arm, and the one that is subtracted
    name: [difference.split(" - ") for difference in one["differences"]]
    for name, one in LISTED.items()
}
