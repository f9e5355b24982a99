"""The arms that the experiments compare, and which experiment runs which.

Learning rates: recorded trials (camouflage, seed 100, 200 steps) put LoRA, Conv-LoRA, fixed 3x3 and
NAS-PC-LoRA at .003, U-Net at .001; NAS-LoRA's .001 is ahead of its .003 by .003, so it runs at .003
too, and pairs are at one rate. Arms without a trial take .003 of their nearest relative, LoRA with
an operator.

Steps: 200, but 100 where the name says so, and for all arms with few images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from naslora_core.adapters import NASLoRA
from naslora_core.search import OPERATOR_SETS
from naslora_workbook.research.experiment_choice import (
    PricedNASLoRA,
    genotype_of,
    random_genotype,
    shuffled_genotype,
)
from naslora_workbook.research.experiment_operators import (
    BAD,
    WIDE,
    VolumeLoRA,
    VolumeNASLoRA,
    slower_decoder,
)
from naslora_workbook.results.records import RESULTS

SEEDS = (0, 1, 2)
REGISTERED = "protocol_2"  # results/protocol_2.yml: its test images, once it is committed


def _registered() -> list[tuple]:
    import yaml

    asked = yaml.safe_load((RESULTS / f"{REGISTERED}.yml").read_text())
    return [(d, asked["arms"], asked["seeds"]) for d in asked["domains"]]


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

    def listener(self, model) -> Callable | None:
        """What `fit` tells of every step to."""
        return slower_decoder(model, self.decoder_lr / self.lr) if self.decoder_lr else None


def _space(names: Sequence[str], searches: bool = True) -> NASLoRA:
    return NASLoRA(rank=4, place="map", operators=tuple(names), searches=searches)


SINGLES = tuple(n for n in OPERATOR_SETS["linear"] if n != "none")  # none beside a skip is LoRA
ARMS = {
    "lora": Arm("lora"),
    "conv_lora": Arm("conv_lora"),
    "decoder_only": Arm("decoder_only"),
    "fixed_3x3": Arm("fixed_conv"),
    "fixed_5x5": Arm("fixed_5x5"),
    "uniform": Arm("nas_uniform"),
    "searched": Arm("nas_lora", "stage-wise"),
    "searched_.001": Arm("nas_lora", "stage-wise", lr=1e-3),
    "searched_joint_.1": Arm("nas_lora", "joint", alpha_lr=0.1),
    "unet": Arm("unet", lr=1e-3),
    "tapwise_5x5": Arm(NASLoRA(operators=("tapwise_5x5",), searches=False)),
    "equal_5x5": Arm(NASLoRA(operators=("equal_5x5",), searches=False)),
    "volume_lora": Arm(VolumeLoRA()),
    "volume_searched": Arm(VolumeNASLoRA(), "stage-wise"),
    "volume_searched_.001": Arm(VolumeNASLoRA(), "stage-wise", lr=1e-3),
    "volume_fast_.001": Arm(VolumeNASLoRA(pace=20.0), "stage-wise", lr=1e-3),
}
ARMS |= {f"single_{n}": Arm(f"single_{n}") for n in SINGLES}
ARMS |= {f"wide_{n}": Arm(_space((n,), False)) for n in WIDE[3:]}

for _bad in (0, 3, 6, 12):  # shares 0, 1/3, 1/2, 2/3
    _names = WIDE + BAD[:_bad]
    ARMS[f"bad{_bad}_uniform"] = Arm(_space(_names, False))
    ARMS[f"bad{_bad}_searched"] = Arm(_space(_names), "stage-wise")
    ARMS[f"bad{_bad}_joint_.1"] = Arm(_space(_names), "joint", alpha_lr=0.1)

for _name in ("bad0_uniform", "bad0_joint_.1", "bad12_uniform", "bad12_joint_.1"):
    ARMS[f"test_{_name}"] = replace(ARMS[_name], split="test")  # of `REGISTERED`

for _lr in (1e-2, 3e-2):
    for _base in ("lora", "searched", "fixed_3x3"):
        ARMS[f"{_base}_{_lr:g}"] = replace(ARMS[_base], lr=_lr)
        ARMS[f"{_base}_{_lr:g}_decoder_.003"] = replace(ARMS[_base], lr=_lr, decoder_lr=3e-3)
        ARMS[f"{_base}_{_lr:g}_decoder_.001"] = replace(ARMS[_base], lr=_lr, decoder_lr=1e-3)
ARMS["lora_decoder_.01"] = Arm("lora", decoder_lr=1e-2)
ARMS["searched_decoder_.01"] = replace(ARMS["searched"], decoder_lr=1e-2)
_short = ("lora", "uniform", "searched", "fixed_3x3", "fixed_5x5", "unet", "searched_0.01",
          "searched_0.01_decoder_.003", "searched_decoder_.01")  # fmt: skip
for _name in (*_short, *(f"single_{n}" for n in SINGLES)):
    ARMS[f"{_name}_100_steps"] = replace(ARMS[_name], steps=100)
ARMS["lora_decoder_.001"] = Arm("lora", decoder_lr=1e-3)

FEW = ("lora", "fixed_3x3", "searched", "unet")
for _n in (4, 16, 64):
    ARMS |= {f"{name}_of_{_n}": replace(ARMS[name], images=_n, steps=100) for name in FEW}

_searched = Arm("nas_lora", "stage-wise", steps=100, settle=40)
ARMS["settled"] = _searched
for _price in (0.1, 1.0):
    ARMS[f"settled_price_{_price:g}"] = replace(_searched, method=PricedNASLoRA(price=_price))
for _name, _choose in {
    "own": genotype_of(same=True), "other": genotype_of(same=False),
    "shuffled": shuffled_genotype, "random": random_genotype,
}.items():  # fmt: skip
    ARMS[f"genotype_{_name}"] = Arm(_choose, steps=100)

_how = ("uniform", "searched", "joint_.1")
_shares = [f"bad{b}_{how}" for b in (0, 6, 12) for how in _how]
_third = [f"bad3_{how}" for how in _how]
_half = [f"bad{b}_{how}" for b in (0, 6) for how in _how]
_volume = ("lora", "volume_lora", "searched", "volume_searched", "searched_.001",
           "volume_searched_.001", "volume_fast_.001")  # fmt: skip
_alone = [f"single_{n}" for n in SINGLES]
_oracle = [f"{n}_100_steps" for n in ("uniform", "lora", "fixed_5x5", "searched", *_alone)]
_tapwise = ("uniform", "tapwise_5x5", "equal_5x5", "searched")
_collapse = ("searched_0.01", "searched_0.01_decoder_.003", "searched_decoder_.01")
_quick = [f"{name}_100_steps" for name in (*_collapse, "searched")]
_lora = ("lora", "lora_0.01", "lora_0.01_decoder_.003", "lora_decoder_.01",
         "lora_0.03_decoder_.003")  # fmt: skip
_rates = [n for n in ARMS if n.startswith(("lora_0.0", "searched_0.0", "fixed_3x3_0.0"))]
_few = [f"{name}_of_{n}" for n in (4, 64, 16) for name in FEW]
_few += [f"{name}_100_steps" for name in FEW]
_genotypes = [f"genotype_{n}" for n in ("own", "other", "shuffled", "random")]
_priced = ("settled", "settled_price_0.1", "settled_price_1")
_all = ("camouflage", "leaf", "vessel", "cropweed", "polyp")

# of each experiment: domain, arms, seeds; the first that are listed are the first that run
EXPERIMENTS = {
    "bad_company": [("leaf", _shares, SEEDS), ("leaf", _third, SEEDS),
                    ("vessel", _half, SEEDS), ("camouflage", _half, SEEDS)],
    "volume": [("camouflage", _volume, SEEDS), ("polyp", _volume, SEEDS)],
    "oracle": [(d, _oracle, SEEDS) for d in _all],
    "preconditioner": [(d, _tapwise, SEEDS) for d in ("camouflage", "leaf", "vessel")],
    "decoder_rate": [("camouflage", arms, SEEDS) for arms in (_quick, _collapse, _lora, _rates)],
    "few_images": [(d, _few, SEEDS) for d in ("camouflage", "leaf")],
    "choice": [("camouflage", _priced, SEEDS), ("polyp", _priced, SEEDS)],
    "transfer": [(d, _genotypes, SEEDS) for d in ("camouflage", "polyp")],
    REGISTERED: _registered(),
}  # fmt: skip
