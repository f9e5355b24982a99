"""SAM itself: registry and checkpoints, the small model, and a differentiable segmenter.

Import `SamPredictor` and `SamAutomaticMaskGenerator` from here: torchvision is healed first.
"""

from naslora_core.sam.heal import heal_torchvision

heal_torchvision()

from segment_anything import SamAutomaticMaskGenerator, SamPredictor

from naslora_core.sam.attention import fuse
from naslora_core.sam.heads import MaskHead, MatchedHead
from naslora_core.sam.nano import build_nano
from naslora_core.sam.registry import load_sam, manifest, model_hash
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
