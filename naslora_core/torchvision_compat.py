"""Let torchvision import beside a torch without its compiled operators.

PyPI's Linux torchvision is built for CUDA; beside a CPU-only torch, `import torchvision` stops at
`operator torchvision::nms does not exist`. `import naslora_core` watches for the first import of
torchvision, whoever makes it; on that error, and on no other, the missing operators are declared,
`nms` (all that `segment_anything` needs of them) gets a plain PyTorch body, and torchvision is
imported again. Nothing is imported here before that.
"""

import sys
from functools import partial
from importlib.machinery import PathFinder

_library = None  # stays referenced, else the operators vanish


class HealingFinder:
    """Finds torchvision as Python does, with a loader that heals it."""

    @staticmethod
    def find_spec(name: str, path=None, target=None):
        """The spec of torchvision; None for every other module."""
        spec = PathFinder.find_spec(name, path, target) if name == "torchvision" else None
        if spec and spec.loader:
            spec.loader.exec_module = partial(_run_healed, spec.loader.exec_module)
        return spec


def _run_healed(run, module) -> None:
    """Run torchvision; where the operators are missing, declare them and run it again."""
    try:
        return run(module)
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    define_operators()
    for name in [n for n in sys.modules if n.startswith("torchvision.")]:
        del sys.modules[name]
    run(module)
    # here only: a global flip would send roi_align to an operator that is missing
    module.ops.boxes._assert_has_ops = lambda: None


def watch_torchvision() -> None:
    """Heal torchvision when it is first imported; once, and not where it is imported already."""
    if HealingFinder not in sys.meta_path and "torchvision" not in sys.modules:
        sys.meta_path.insert(0, HealingFinder)


def define_operators() -> None:
    """Declare torchvision's missing operators, `nms` with a body."""
    global _library
    import torch

    _library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.impl("nms", greedy_nms, "CompositeExplicitAutograd")


def greedy_nms(boxes, scores, iou_threshold: float):
    """Indices of the boxes (`N 4`, xyxy) kept by greedy suppression, best score first."""
    from torchvision.ops import box_iou

    order, overlap = scores.argsort(descending=True, stable=True), box_iou(boxes, boxes)
    keep = []
    for i in order.tolist():
        if not (overlap[i, keep] > iou_threshold).any():  # 0/0 suppresses none
            keep.append(i)
    return order.new_tensor(keep)
