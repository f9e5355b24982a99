"""Where a run computes: one process or many, on CPUs or GPUs, through Lightning Fabric.

    python -m naslora_core fit my_images --devices 4 --precision bf16

No DistributedDataParallel around the model: it fixes at the start which parameters have gradients,
and a stage-wise search freezes and releases alpha. What an adapter trains is small, so after the
backward pass its gradients are averaged in one call.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from naslora_core.errors import UserError, known

if TYPE_CHECKING:  # importing it takes two seconds
    from lightning_fabric import Fabric

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def launch(
    devices: int = 1, nodes: int = 1, precision: str = "fp32", accelerator: str = "auto"
) -> "Fabric":
    """Start `devices` processes on each of `nodes` machines; every one of them goes on from here.

    precision: of forward passes, "fp32", "bf16" or "fp16" (GPU alone, scaled); weights stay
    float32. accelerator: "auto", "cpu", "cuda". Raises UserError for a precision or device count
    that is not there.
    """
    Fabric = _fabric()
    accelerator = _accelerator(accelerator)
    _possible(precision, accelerator, devices)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=PRECISIONS[precision],
    )
    fabric.launch()
    return fabric


def single_process(device: torch.device, precision: str = "fp32") -> "Fabric":
    """This process and nothing else, on the device where the model is."""
    Fabric = _fabric()
    _possible(precision, device.type, 1)
    where = [device.index or 0] if device.type == "cuda" else 1
    return Fabric(accelerator=device.type, devices=where, precision=PRECISIONS[precision])


def _fabric() -> type["Fabric"]:
    """Its class; what it tells of itself at every start stays unsaid, its warnings do not."""
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric


def _accelerator(name: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _possible(precision: str, accelerator: str, devices: int) -> None:
    known(precision, PRECISIONS, "Unknown precision")
    if precision == "fp16" and accelerator == "cpu":
        raise UserError("precision 'fp16' needs a GPU, this run is on the cpu; take bf16 or fp32.")
    there = torch.cuda.device_count() if known_device(accelerator).type == "cuda" else devices
    if devices > there:
        raise UserError(f"{devices} GPUs are asked for, {there} are here; give --devices {there}.")


def known_device(name: str) -> torch.device:
    """The device of this name, "auto" a GPU where there is one, a numbered GPU from now on the
    current one; UserError for one that is not."""
    try:
        device = torch.device(_accelerator(name))
    except RuntimeError as error:
        raise UserError(f"Unknown device {name!r}; give --device cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device here; give --device cpu, or go where one is.")
    if device.index is not None and device.type == "cuda":
        if device.index >= (there := torch.cuda.device_count()):
            raise UserError(f"There is no {name} here, the highest is cuda:{there - 1}; give that.")
        torch.cuda.set_device(device)  # memory and time are asked of the current one
    return device


def average_gradients(fabric: "Fabric", parameters: Sequence[Tensor]) -> None:
    """Replace every gradient by its mean over the processes; alone, leave them as they are."""
    if fabric.world_size == 1 or not parameters:
        return
    flat = torch.cat([_gradient(p).flatten() for p in parameters])
    flat = fabric.all_reduce(flat, reduce_op="mean")
    for p, mean in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad = mean.view_as(p).clone()


def _gradient(p: Tensor) -> Tensor:
    """What an expert that no image of this process reached would have: zero."""
    return p.grad if p.grad is not None else torch.zeros_like(p)
