"""Methods and operators of the literature for comparison, each in one file.

They register themselves beside those of the core when this package is imported. The methods then
stand in the order of the tables.
"""

from naslora_core.adapters import LABELS, METHODS
from naslora_core.cli.method_settings import ABOUT
from naslora_core.search import OPERATOR_SETS
from naslora_workbook.research.methods import darts_operators, wide_operators  # they register sets
from naslora_workbook.research.methods.bitfit import BitFit
from naslora_workbook.research.methods.bottleneck import BottleneckAdapter
from naslora_workbook.research.methods.lst import LST
from naslora_workbook.research.methods.sam_adapter import SAMAdapter
from naslora_workbook.research.methods.ssf import SSF
from naslora_workbook.research.methods.vpt import VPT

__all__ = ["LABELS", "METHODS", "OPERATOR_SETS"]
__all__ += ["BitFit", "BottleneckAdapter", "LST", "SAMAdapter", "SSF", "VPT"]

ORDER = ("decoder_only", "full", "bitfit", "bottleneck", "sam_adapter", "vpt", "lst", "ssf")
ORDER += ("lora", "conv_lora", "fixed_conv", "nas_lora", "nas_pc_lora")

ABOUT |= {
    "bitfit": "the biases | everything | a very small file",
    "bottleneck": "two Linears after each MLP | nothing | as in adapters of language models",
    "sam_adapter": "prompts from high frequencies | nothing | camouflage, shadows",
    "vpt": "learned tokens in each window | nothing | to compare with prompts",
    "lst": "a small network beside the encoder | nothing | backward memory is short",
    "ssf": "a scale and shift after each layer | everything | few parameters, no cost at use",
}

for name in ORDER:
    METHODS[name], LABELS[name] = METHODS.pop(name), LABELS.pop(name)
