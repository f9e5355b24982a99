"""Every method of the comparison by name, at the size at which it is compared.

VARIANTS are what a search is printed beside: the same method with one setting changed, and the
answer fixed in advance. `single_X` is NAS-LoRA over X alone, so a random control is one of them
drawn by whoever runs it; `nas_uniform` never moves alpha. Neither searches, so every pass of their
budget moves weights.
"""

from naslora_core.adapters.bitfit import BitFit
from naslora_core.adapters.bottleneck import BottleneckAdapter
from naslora_core.adapters.conv_lora import ConvLoRA
from naslora_core.adapters.decoder_only import DecoderOnly
from naslora_core.adapters.discretisation import ChosenLoRA
from naslora_core.adapters.full import Full
from naslora_core.adapters.lora import LoRA
from naslora_core.adapters.lst import LST
from naslora_core.adapters.method import Method
from naslora_core.adapters.nas_lora import NASLoRA
from naslora_core.adapters.nas_pc_lora import NASPCLoRA
from naslora_core.adapters.sam_adapter import SAMAdapter
from naslora_core.adapters.spatial_lora import FixedConv
from naslora_core.adapters.ssf import SSF
from naslora_core.adapters.vpt import VPT
from naslora_core.search import OPERATOR_SETS

METHODS: dict[str, Method] = {
    "decoder_only": DecoderOnly(),
    "full": Full(),
    "bitfit": BitFit(),
    "bottleneck": BottleneckAdapter(),
    "sam_adapter": SAMAdapter(),
    "vpt": VPT(),
    "lst": LST(),
    "ssf": SSF(),
    "lora": LoRA(rank=4),
    "conv_lora": ConvLoRA(),
    "fixed_conv": FixedConv(rank=4),
    "nas_lora": NASLoRA(rank=4),
    "nas_pc_lora": NASPCLoRA(rank=4),
}
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
CLASSES = {kind.__name__: kind for kind in (*map(type, METHODS.values()), ChosenLoRA)}
