"""SAM itself: registry and checkpoints, the small model, and a differentiable segmenter."""

from segment_anything import SamAutomaticMaskGenerator, SamPredictor

from naslora_core.sam.checkpoints import load_sam, manifest, model_hash
from naslora_core.sam.fused_attention import fuse
from naslora_core.sam.mask_head import MaskHead, MatchedHead
from naslora_core.sam.sam_nano import build_nano
from naslora_core.sam.segmenter import Output, Segmenter
