"""Methods and operators of the literature for comparison, each in one file.

They register themselves beside those of the core when this package is imported. The methods then
stand in the order of the tables.
"""

from naslora_core.adapters import LABELS, METHODS
from naslora_core.search import OPERATOR_SETS
from naslora_workbook.research.methods import darts_operators  # noqa: F401  (it registers a set)
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

for name in ORDER:
    METHODS[name], LABELS[name] = METHODS.pop(name), LABELS.pop(name)
