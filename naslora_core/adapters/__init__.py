"""Methods that adapt a frozen SAM, each in one file, under one interface."""

from naslora_core.adapters.adaptation import LABELS, METHODS, Adapted, adapt, method
from naslora_core.adapters.baselines import DecoderOnly, Full
from naslora_core.adapters.checkpoint import load_adapter, save_adapter
from naslora_core.adapters.conv_lora import ConvLoRA
from naslora_core.adapters.discretisation import (
    ChosenLoRA,
    choose_operators,
    discretise,
    read_genotype,
)
from naslora_core.adapters.fixed_conv import FixedConv
from naslora_core.adapters.folding import Folded, fold, load_folded
from naslora_core.adapters.lora import LoRA
from naslora_core.adapters.nas_lora import NASLoRA, NASPCLoRA, cells
