"""Methods that adapt a frozen SAM, each in one file, under one interface."""

from naslora_core.adapters.base import Adapted, adapt
from naslora_core.adapters.checkpoint import load_adapter, save_adapter
from naslora_core.adapters.decoder_only import DecoderOnly
from naslora_core.adapters.fold import Folded, fold
from naslora_core.adapters.folded_file import load_folded
from naslora_core.adapters.lora import LoRA
from naslora_core.adapters.nas_lora import NASLoRA, cells, read_genotype
from naslora_core.adapters.spatial import FixedConv

__all__ = [
    "Adapted",
    "DecoderOnly",
    "FixedConv",
    "Folded",
    "LoRA",
    "NASLoRA",
    "adapt",
    "cells",
    "fold",
    "load_adapter",
    "load_folded",
    "read_genotype",
    "save_adapter",
]
