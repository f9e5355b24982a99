"""What a search is printed beside: a method with one setting changed, the answer fixed in advance.

`single_X` is NAS-LoRA over X alone, so a random control is one of them drawn by whoever runs it;
`nas_uniform` never moves alpha. Neither searches, so every pass of their budget moves weights.
"""

from naslora_core.adapters import FixedConv, NASLoRA
from naslora_core.adapters.adaptation import Method
from naslora_workbook.research import methods  # noqa: F401  (it registers sets)

SINGLE = {  # operator of the linear set: how tables call it
    "none": "none",
    "skip": "skip",
    "conv_1x1": "1x1",
    "conv_3x3": "3x3",
    "conv_5x5": "5x5",
    "dil_conv_3x3": "dilated 3x3",
    "sep_conv_3x3": "separable 3x3",
    "sep_conv_5x5": "separable 5x5",
    "avg_pool_3x3": "average pool",
}
LABELLED: dict[str, tuple[str, Method]] = {
    "fixed_5x5": ("fixed 5x5", FixedConv(rank=4, side=5)),
    "fixed_map": ("fixed 3x3, whole map", FixedConv(rank=4, place="map")),
    "fixed_5x5_map": ("fixed 5x5, whole map", FixedConv(rank=4, side=5, place="map")),
    "nas_plain": ("NAS-LoRA, plain start", NASLoRA(rank=4, start="plain")),
    "nas_identity": ("NAS-LoRA, identity start", NASLoRA(rank=4, start="identity")),
    "nas_map": ("NAS-LoRA, whole map", NASLoRA(rank=4, place="map")),
    "nas_shared": ("NAS-LoRA, one alpha", NASLoRA(rank=4, share="all")),
    "nas_uniform": ("NAS-LoRA, alpha uniform", NASLoRA(rank=4, searches=False)),
    "nas_wide": ("NAS-LoRA, wide set on the map", NASLoRA(rank=4, place="map", operators="wide")),
    "nas_darts": ("NAS-LoRA, DARTS operators", NASLoRA(rank=4, operators="darts")),
} | {
    f"single_{n}": (f"NAS-LoRA, {words} alone", NASLoRA(rank=4, operators=(n,), searches=False))
    for n, words in SINGLE.items()
}
VARIANTS = {name: method for name, (_, method) in LABELLED.items()}
