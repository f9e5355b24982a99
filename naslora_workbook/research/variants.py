"""What a search is printed beside: a method with one setting changed, the answer fixed in advance.

`single_X` is NAS-LoRA over X alone, so a random control is one of them drawn by whoever runs it;
`nas_uniform` never moves alpha. Neither searches, so every pass of their budget moves weights.
"""

from naslora_core.adapters import FixedConv, NASLoRA
from naslora_core.adapters.adaptation import Method
from naslora_workbook.research.methods import OPERATOR_SETS

VARIANTS: dict[str, Method] = {
    "fixed_5x5": FixedConv(rank=4, side=5),
    "fixed_map": FixedConv(rank=4, place="map"),
    "fixed_5x5_map": FixedConv(rank=4, side=5, place="map"),
    "nas_plain": NASLoRA(rank=4, start="plain"),
    "nas_identity": NASLoRA(rank=4, start="identity"),
    "nas_map": NASLoRA(rank=4, place="map"),
    "nas_shared": NASLoRA(rank=4, share="all"),
    "nas_uniform": NASLoRA(rank=4, searches=False),
    "nas_darts": NASLoRA(rank=4, operators="darts"),
} | {
    f"single_{name}": NASLoRA(rank=4, operators=(name,), searches=False)
    for name in OPERATOR_SETS["linear"]
}
