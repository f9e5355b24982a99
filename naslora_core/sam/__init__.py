"""SAM itself: registry and checkpoints, the small model, and a differentiable segmenter."""

from naslora_core.sam.heal import heal_torchvision

heal_torchvision()

from naslora_core.sam.nano import build_nano  # noqa: E402
from naslora_core.sam.registry import load_sam, model_hash  # noqa: E402
from naslora_core.sam.segmenter import Output, Segmenter  # noqa: E402

__all__ = ["Output", "Segmenter", "build_nano", "heal_torchvision", "load_sam", "model_hash"]
