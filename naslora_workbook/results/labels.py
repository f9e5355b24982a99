"""What tables call a method, and a table in Markdown."""

from collections.abc import Iterable, Sequence

from naslora_workbook.research.methods import LABELS as METHODS

LABELS = {
    "base_boxed": "base, a box on every object",
    **METHODS,
    "fixed_5x5": "fixed 5x5",
    "fixed_map": "fixed 3x3, whole map",
    "fixed_5x5_map": "fixed 5x5, whole map",
    "nas_plain": "NAS-LoRA, plain start",
    "nas_identity": "NAS-LoRA, identity start",
    "nas_map": "NAS-LoRA, whole map",
    "nas_shared": "NAS-LoRA, one alpha",
    "nas_uniform": "NAS-LoRA, alpha uniform",
    "random_operator": "one random operator",
    "nas_darts": "NAS-LoRA, DARTS operators",
    "single_none": "NAS-LoRA, none alone",
    "single_skip": "NAS-LoRA, skip alone",
    "single_conv_1x1": "NAS-LoRA, 1x1 alone",
    "single_conv_3x3": "NAS-LoRA, 3x3 alone",
    "single_conv_5x5": "NAS-LoRA, 5x5 alone",
    "single_dil_conv_3x3": "NAS-LoRA, dilated 3x3 alone",
    "single_sep_conv_3x3": "NAS-LoRA, separable 3x3 alone",
    "single_sep_conv_5x5": "NAS-LoRA, separable 5x5 alone",
    "single_avg_pool_3x3": "NAS-LoRA, average pool alone",
    "unet": "U-Net from scratch",
}


def markdown(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: rows of cells under names."""
    lines = [names, *rows]
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(names), *body])
