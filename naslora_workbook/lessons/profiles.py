"""How much of everything a lesson uses: the same code path on every profile, on less data."""

from dataclasses import dataclass, replace

import torch

import naslora_workbook.lessons.domains  # noqa: F401  (registers the drawn domains)
from naslora_core.errors import known


@dataclass(frozen=True)
class Profile:
    """model: a name for load_sam; image_size: side in pixels; train, val, test: images of a
    procedural domain; steps: weight and alpha updates of one run; batch: images a step; device:
    where the model computes, "cuda" only where there is one."""

    name: str
    model: str
    image_size: int
    train: int
    val: int
    test: int
    steps: int
    batch: int
    device: str = "cpu"

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{k}</th><td>{v}</td></tr>" for k, v in vars(self).items())
        return f"<table>{cells}</table>"


PROFILES = {
    "smoke": Profile("smoke", "sam_nano", 128, train=48, val=16, test=16, steps=80, batch=8),
    "laptop": Profile("laptop", "sam_nano", 128, train=256, val=48, test=64, steps=400, batch=8),
    "gpu": Profile("gpu", "vit_b", 1024, 256, 48, 64, steps=1000, batch=2, device="cuda"),
}


def profile(name: str = "smoke") -> Profile:
    """The profile of this name; UserError with the choices otherwise.

    One that computes on CUDA holds this process' convolutions to float32, as its products are:
    PyTorch rounds them to ten bits otherwise (TF32), and lessons compare more closely.
    """
    known(name, PROFILES, "There is no profile")
    found = PROFILES[name]
    if found.device != "cuda":
        return found
    if not torch.cuda.is_available():
        return replace(found, device="cpu")
    torch.backends.cudnn.allow_tf32 = False
    return found
