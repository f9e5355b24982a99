"""SAM itself: registry and checkpoints, the small model, and a differentiable segmenter.

Import `SamPredictor` and `SamAutomaticMaskGenerator` from here: torchvision is healed first.
"""

from naslora_core.sam.torchvision_compat import heal_torchvision

heal_torchvision()

from segment_anything import SamAutomaticMaskGenerator, SamPredictor

from naslora_core.sam.checkpoints import load_sam, manifest, model_hash
from naslora_core.sam.fused_attention import fuse
from naslora_core.sam.mask_head import MaskHead, MatchedHead
from naslora_core.sam.sam_nano import build_nano
from naslora_core.sam.segmenter import Output, Segmenter

__all__ = [
    "MaskHead",
    "MatchedHead",
    "Output",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "Segmenter",
    "build_nano",
    "fuse",
    "heal_torchvision",
    "load_sam",
    "manifest",
    "model_hash",
]
