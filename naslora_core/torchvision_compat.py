"""Let torchvision import beside a torch without its compiled operators.

PyPI's Linux torchvision is built for CUDA; beside a CPU-only torch, `import torchvision` stops at
`operator torchvision::nms does not exist`. `import naslora_core` watches for the first import of
torchvision, whoever makes it; on that error, and on no other, the missing operators are declared,
`nms` (all that `segment_anything` needs of them) gets a plain PyTorch body, and torchvision is
imported again. Nothing is imported here before that.
"""

import sys
from importlib.machinery import PathFinder

_library = None  # stays referenced, else the operators vanish


class HealingFinder:
    """Finds torchvision as Python does, and gives it a loader that knows the error."""

    @staticmethod
    def find_spec(name: str, path=None, target=None):
        """The spec of torchvision; None for every other module."""
        spec = PathFinder.find_spec(name, path, target) if name == "torchvision" else None
        if spec and spec.loader:
            spec.loader = HealingLoader(spec.loader)
        return spec


class HealingLoader:
    """A loader that runs a module a second time once the operators are declared."""

    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        """As the wrapped loader has it."""
        return self.loader.create_module(spec)

    def exec_module(self, module) -> None:
        """Run the module; where the operators are missing, declare them and run it again."""
        try:
            return self.loader.exec_module(module)
        except RuntimeError as error:
            if "torchvision::nms does not exist" not in str(error):
                raise
        define_operators()
        for name in [n for n in sys.modules if n.startswith("torchvision.")]:
            del sys.modules[name]
        self.loader.exec_module(module)
        # here only: a global flip would send roi_align to an operator that is missing
        module.ops.boxes._assert_has_ops = lambda: None

    def __getattr__(self, name: str):
        return getattr(self.loader, name)


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
    import torch
    from torchvision.ops import box_iou

    order = scores.argsort(descending=True, stable=True)
    keep = []
    while order.numel():
        best, rest = order[0], order[1:]
        keep.append(best)
        iou = box_iou(boxes[best][None], boxes[rest])[0]
        order = rest[~(iou > iou_threshold)]  # 0/0 suppresses none
    return torch.stack(keep) if keep else order
