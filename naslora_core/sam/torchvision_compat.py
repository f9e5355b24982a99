"""Let torchvision import beside a torch without its compiled operators.

PyPI's Linux torchvision is built for CUDA. Beside a CPU-only torch its operators do not load, and
`import torchvision` stops at `operator torchvision::nms does not exist`. `segment_anything` needs
three functions of torchvision, and of its compiled operators only `nms`; so on that error, and on
no other, we declare the missing operators and give `nms` a plain PyTorch body.
"""

import importlib
import sys

import torch
from torch import Tensor

_library: torch.library.Library | None = None  # stays referenced, else the operators vanish


def heal_torchvision() -> bool:
    """Import torchvision, healing a mismatched build. True if it had to be healed."""
    try:
        importlib.import_module("torchvision")
        return False
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    _define_operators()
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    boxes = importlib.import_module("torchvision.ops.boxes")
    boxes._assert_has_ops = lambda: None  # here only: a global flip would send roi_align astray
    return True


def _define_operators() -> None:
    global _library
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.impl("nms", greedy_nms, "CompositeExplicitAutograd")


def greedy_nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes (`N 4`, xyxy) kept by greedy suppression, best score first."""
    order = scores.argsort(descending=True, stable=True)
    keep = []
    while order.numel():
        best, rest = order[0], order[1:]
        keep.append(best)
        order = rest[~(_iou_with(boxes[best], boxes[rest]) > iou_threshold)]  # 0/0 suppresses none
    return torch.stack(keep) if keep else order


def _iou_with(box: Tensor, boxes: Tensor) -> Tensor:
    low, high = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area = (box[2:] - box[:2]).prod()
    return inter / (area + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - inter)
