"""What a method costs in the encoder, beside LoRA's: step, inference, memory for backward.

    python -m naslora_core bench

The floor is a frozen forward with the backward to its input, which no method that lives inside the
encoder can avoid. Folded encoders are timed beside the vanilla one; a pointwise fold has the
vanilla encoder's own modules, so its ratio is 1 up to the noise of the measurement.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from naslora_core.adapters import NASLoRA, adapt, fold
from naslora_core.adapters.adaptation import Method, frozen_twin
from naslora_core.adapters.folding import fold_blocks
from naslora_core.adapters.nas_lora import cells
from naslora_core.sam import Segmenter, build_nano
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.sam.sam_nano import ImageEncoderViT
from naslora_workbook.research.benchmarks.measurement import interleaved, saved_mb, summary
from naslora_workbook.research.methods import METHODS

FLOOR, REFERENCE, VANILLA = "floor", "lora", "vanilla"
SIZES = {"nano": 8, "vit_b": 1}  # images a batch; of ViT-B two blocks at 1024 pixels
COLUMNS = ("parameters", "step_ms", "step_ratio", "inference_ms", "inference_ratio", "saved_mb")
FOLDED_COLUMNS = ("inference_ms", "inference_ratio", "side_macs")
FOLDED = {  # the widest operator that is left decides what a block costs
    "pointwise": NASLoRA(operators=("none", "skip", "conv_1x1")),
    "3x3 beside": NASLoRA(operators=("conv_3x3",)),
    "5x5 beside": NASLoRA(),
    "5x5 on the map": NASLoRA(place="map"),
}


def build(size: str) -> nn.Module:
    """Random weights: all of nano, or one windowed and one global ViT-B block at 1024 pixels."""
    if size == "nano":
        return build_nano().eval().requires_grad_(False)
    real = {"embed_dim": 768, "num_heads": 12, "depth": 2, "window_size": 14, "qkv_bias": True}
    model = nn.Module()
    model.image_encoder = ImageEncoderViT(**real, use_rel_pos=True, global_attn_indexes=(1,))
    return model.eval().requires_grad_(False)


def blank(encoder: nn.Module, batch: int, device: str = "cpu") -> Tensor:
    """Noise `B 3 S S` of the encoder's size."""
    return torch.randn(batch, 3, encoder.img_size, encoder.img_size, device=device)


def measure(
    size: str, names: Sequence[str], rounds: int = 9, batch: int = 8, device: str = "cpu"
) -> dict[str, dict[str, float]]:
    """A row a method: milliseconds a step and an inference (median), ratios, bytes for backward."""
    sam = build(size).to(device)
    images = blank(sam.image_encoder, batch, device)
    encoders = {name: encoder_with(sam, METHODS.get(name)) for name in (FLOOR, *names)}
    work = {("step", n): partial(step, e, images, n) for n, e in encoders.items()}
    work |= {("inference", n): partial(infer, e, images) for n, e in encoders.items()}
    times, rows = interleaved(work, rounds, device), {}
    for name, encoder in encoders.items():
        rows[name] = row = {}
        for kind in ("step", "inference"):
            row |= _named(kind, summary(times[kind, name], times[kind, REFERENCE]))
        given = images.clone().requires_grad_(name == FLOOR)
        row["saved_mb"] = saved_mb(encoder.train(), given)
        row["parameters"] = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    return rows


def _named(kind: str, found: Mapping) -> dict:
    return {f"{kind}_{key}": value for key, value in found.items()}


def encoder_with(sam: nn.Module, method: Method | None) -> nn.Module:
    """A twin of a frozen image encoder with a method in it; without one, the floor."""
    twin = frozen_twin(sam).image_encoder
    if method is None:
        return twin
    return (method.inject(twin) or twin).to(next(twin.parameters()))


def step(encoder: nn.Module, images: Tensor, name: str) -> None:
    """Forward and backward of an arbitrary loss; the floor's gradient goes to its input."""
    encoder.train()
    out = encoder(images.requires_grad_(name == FLOOR))
    images.requires_grad_(False)
    if out.requires_grad:
        out.square().mean().backward()
    encoder.zero_grad(set_to_none=True)


@torch.no_grad()
def infer(encoder: nn.Module, images: Tensor) -> None:
    """A forward pass that keeps nothing for backward."""
    encoder.eval()(images)


def measure_folded(
    size: str, rounds: int = 9, batch: int = 1, device: str = "cpu"
) -> dict[str, dict]:
    """A row an encoder: milliseconds of an inference (median), its ratio to vanilla paired by turn
    (median, lowest, highest), and the multiply-adds a token of all its side branches."""
    encoder = build(size).to(device).image_encoder
    images = blank(encoder, batch, device)
    encoders = {VANILLA: (encoder, 0)} | {n: folded(encoder, m) for n, m in FOLDED.items()}
    work = {name: partial(infer, module, images) for name, (module, _) in encoders.items()}
    times = interleaved(work, rounds, device)
    return {
        name: _named("inference", summary(times[name], times[VANILLA])) | {"side_macs": macs}
        for name, (_, macs) in encoders.items()
    }


@torch.no_grad()
def folded(encoder: nn.Module, method: NASLoRA) -> tuple[nn.Module, int]:
    """A folded copy with the method's operators all in use, and its side branches' cost."""
    twin = frozen_twin(encoder)
    method.inject(twin)
    twin.to(next(encoder.parameters()).device)
    for module in (m for m in twin.modules() if hasattr(m, "Wd")):
        module.Wd.normal_(std=0.02)
    for cell in cells(twin).values():
        for p in cell.parameters():
            p.normal_(std=0.1)
    rows = fold_blocks(twin)
    return twin, sum(row.side_macs for row in rows)


def facts(name: str) -> dict:
    """Parameters in the encoder of every model, largest difference at the start, what folds."""
    sam = build_nano().eval().requires_grad_(False)
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        model = adapt(sam, METHODS[name])
        apart = (model(images).low_res - Segmenter(sam)(images).low_res).abs().max()
        g = torch.Generator().manual_seed(1)
        for p in model.trainable().values():  # as after a training: at the start much is zero
            p.add_(0.01 * torch.randn(p.shape, generator=g))
    found = fold(model)
    return {
        "parameters": {size: parameters(size, name) for size in BUILDERS},
        "start_difference": float(apart),
        "folds": "everything" if found.vanilla else _least(found.report.rows),
    }


def _least(rows: Sequence) -> str:
    """What of the block that folds least goes into the base: "centre tap" or "nothing", and why."""
    order = ("everything", "centre tap", "nothing")
    worst = max(rows, key=lambda row: order.index(row.folded))
    return f"{worst.folded}: {worst.why}"


def parameters(size: str, name: str) -> int:
    """Trained parameters in the encoder of a model, counted on the meta device."""
    with torch.device("meta"):
        sam = BUILDERS[size]()
    trained = adapt(sam, METHODS[name]).trainable().items()
    return sum(p.numel() for n, p in trained if n.startswith("sam.image_encoder"))
