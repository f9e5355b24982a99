"""Every method of the comparison by name, at the size at which it is compared."""

from naslora_core.adapters.base import Method
from naslora_core.adapters.bitfit import BitFit
from naslora_core.adapters.bottleneck import BottleneckAdapter
from naslora_core.adapters.conv_lora import ConvLoRA
from naslora_core.adapters.decoder_only import DecoderOnly
from naslora_core.adapters.full import Full
from naslora_core.adapters.lora import LoRA
from naslora_core.adapters.lst import LST
from naslora_core.adapters.nas_lora import NASLoRA
from naslora_core.adapters.nas_pc_lora import NASPCLoRA
from naslora_core.adapters.sam_adapter import SAMAdapter
from naslora_core.adapters.spatial import FixedConv
from naslora_core.adapters.ssf import SSF
from naslora_core.adapters.vpt import VPT

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
CLASSES = {type(m).__name__: type(m) for m in METHODS.values()}
