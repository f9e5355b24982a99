"""How much faster a training step gets when the frozen early part is read instead of computed.

    python -m naslora_core measure cache

Whole steps of `sam_nano` (forward, loss, backward, AdamW), with the cache and without in turns;
every image is already kept.
"""

import tempfile
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from naslora_core.adapters import METHODS, adapt
from naslora_core.adapters.method import Method
from naslora_core.sam import load_sam
from naslora_core.training.embedding_cache import FeatureCache, cached
from naslora_core.training.losses import cross_entropy_dice
from naslora_workbook.research.benchmark import interleaved, summary
from naslora_workbook.research.plan import placed

WAYS = ("without", "with", "half")
LATE = {
    "decoder_only": METHODS["decoder_only"],
    "lora late-4": placed(METHODS["lora"], "late-4"),
    "nas_lora late-4": placed(METHODS["nas_lora"], "late-4"),
}


def measure_cached(names=tuple(LATE), rounds: int = 7, batch: int = 8) -> dict[str, dict]:
    """A row a method: milliseconds and ratios to the step without a cache, and the loss's relative
    difference at the first step (0 but for float16)."""
    sam = load_sam()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, 128, 128), generator=generator).float()
    masks = (images.mean(1) > 128).to(torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        return {n: _row(sam, LATE[n], images, masks, f"{folder}/{n}", rounds) for n in names}


def _row(sam, method: Method, images: Tensor, masks: Tensor, folder: str, rounds: int) -> dict:
    caches = {"without": None, "with": FeatureCache(f"{folder}/exact")}
    caches["half"] = FeatureCache(f"{folder}/half", half=True)
    models = {way: adapt(sam, method).train() for way in WAYS}
    work = {}
    with ExitStack() as stack:
        for way, model in models.items():
            stack.enter_context(cached(model, caches[way]))
            optimiser = torch.optim.AdamW(model.trainable().values())
            work[way] = partial(_step, model, images, masks, optimiser)
        first = {way: _loss(models[way], images, masks).item() for way in WAYS}
        times = interleaved(work, rounds)
    row = {way: summary(times[way], times["without"]) for way in WAYS}
    apart = {w: float(f"{abs(first[w] / first['without'] - 1):.1e}") for w in WAYS}
    return {way: row[way] | {"loss_difference": apart[way]} for way in WAYS}


def _loss(model: nn.Module, images: Tensor, masks: Tensor) -> Tensor:
    return cross_entropy_dice(model(images).masks, masks) + model.auxiliary_loss()


def _step(model: nn.Module, images: Tensor, masks: Tensor, optimiser) -> None:
    optimiser.zero_grad(set_to_none=True)
    _loss(model, images, masks).backward()
    optimiser.step()
