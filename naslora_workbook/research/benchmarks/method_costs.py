"""What a method costs in the encoder, beside LoRA's: step, inference, memory for backward; what
convolving adds to LoRA's step, and how much of Conv-LoRA's part NAS-LoRA removes.

    python -m naslora_core bench
    python -m naslora_core overhead

The floor is a frozen forward with the backward to its input, which no method that lives inside the
encoder can avoid. Folded encoders are timed beside the vanilla one; a pointwise fold has the
vanilla encoder's own modules, so its ratio is 1 up to the noise of the measurement. Conv-LoRA is
timed as released, and as the fastest that we can write (`removed_share`).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from naslora_core.adapters import ConvLoRA, LoRA, NASLoRA, adapt, fold
from naslora_core.adapters.adaptation import Method, frozen_twin
from naslora_core.adapters.folding import fold_blocks
from naslora_core.adapters.nas_lora import cells
from naslora_core.sam import Segmenter, build_nano
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.sam.sam_nano import ImageEncoderViT
from naslora_workbook.research.benchmarks.measurement import (
    interleaved,
    removed_share,
    saved_mb,
    summary,
)
from naslora_workbook.research.methods import METHODS

FLOOR, REFERENCE, VANILLA = "floor", "lora", "vanilla"
SIZES = {"nano": 8, "vit_b": 1}  # images a batch; of ViT-B two blocks at 1024 pixels
FOLDED = {  # the widest operator that is left decides what a block costs
    "pointwise": NASLoRA(operators=("none", "skip", "conv_1x1")),
    "3x3 beside": NASLoRA(operators=("conv_3x3",)),
    "5x5 beside": NASLoRA(),
    "5x5 on the map": NASLoRA(place="map"),
}
NOISE = 0.02  # an overhead below it is none that a share could be taken of
NINE, THREE = "nas_lora", "nas_lora of 3 operators"
RIVALS = {"released": "conv_lora, released", "fastest": "conv_lora, fast"}
PATHS = {
    REFERENCE: LoRA(rank=4),
    RIVALS["released"]: ConvLoRA(dispatch="released"),
    RIVALS["fastest"]: ConvLoRA(dispatch="fast"),
    NINE: NASLoRA(rank=4),
    THREE: NASLoRA(rank=4, operators=("skip", "conv_3x3", "conv_5x5")),
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
    times = interleaved(work, rounds, device)
    return {n: _row(n, times) | _size(n, e, images) for n, e in encoders.items()}


def _row(name: str, times: Mapping) -> dict[str, float]:
    row = {}
    for kind in ("step", "inference"):
        found = summary(times[kind, name], times[kind, REFERENCE])
        row |= {f"{kind}_{key}": value for key, value in found.items()}
    return row


def _size(name: str, encoder: nn.Module, images: Tensor) -> dict[str, float]:
    encoder.train()
    saved = saved_mb(encoder, images.clone().requires_grad_(name == FLOOR))
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    return {"saved_mb": saved, "parameters": trained}


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


def as_table(size: str, rows: Mapping[str, Mapping]) -> str:
    """The rows of `measure` as text."""
    lines = [f"{size:>14}  parameters     step (ms)  of LoRA   inference  of LoRA  saved MB"]
    for name, r in rows.items():
        lines.append(
            f"{name:>14}  {r['parameters']:>10}  {r['step_ms']:>12.1f}  {r['step_ratio']:>7.3f}"
            f"  {r['inference_ms']:>10.1f}  {r['inference_ratio']:>7.3f}  {r['saved_mb']:>8.2f}"
        )
    return "\n".join(lines)


def measure_folded(
    size: str, rounds: int = 9, batch: int = 1, device: str = "cpu"
) -> dict[str, dict]:
    """A row an encoder: milliseconds of an inference (median), its ratio to vanilla paired by turn
    (median, lowest, highest), and the multiply-adds a token of all its side branches."""
    encoder = build(size).to(device).image_encoder
    images = blank(encoder, batch, device)
    encoders = {VANILLA: (encoder, 0)} | {n: folded(encoder, m) for n, m in FOLDED.items()}
    work = {name: partial(infer, module, images) for name, (module, _) in encoders.items()}
    times, rows = interleaved(work, rounds, device), {}
    for name, (_, macs) in encoders.items():
        found = summary(times[name], times[VANILLA])
        rows[name] = {f"inference_{key}": value for key, value in found.items()}
        rows[name]["side_macs"] = macs
    return rows


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


def folded_table(size: str, rows: Mapping[str, Mapping]) -> str:
    """The rows of `measure_folded` as text."""
    lines = [f"{size + ', folded':>22}  inference (ms)  of vanilla  MACs/token"]
    for name, r in rows.items():
        numbers = f"{r['inference_ms']:>14.1f}  {r['inference_ratio']:>10.3f}"
        lines.append(f"{name:>22}  {numbers}  {r['side_macs']:>10}")
    return "\n".join(lines)


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
        "folds": folds(found.report, found.vanilla),
    }


def folds(report, vanilla: bool) -> str:
    """Where the adapter goes: "everything", "centre tap" or "nothing", and why not all."""
    if vanilla:
        return "everything"
    order = ("everything", "centre tap", "nothing")
    worst = max(report.rows, key=lambda row: order.index(row.folded))
    return f"{worst.folded}: {worst.why}"


def parameters(size: str, name: str) -> int:
    """Trained parameters in the encoder of a model, counted on the meta device."""
    with torch.device("meta"):
        sam = BUILDERS[size]()
    trained = adapt(sam, METHODS[name]).trainable().items()
    return sum(p.numel() for n, p in trained if n.startswith("sam.image_encoder"))


def measure_overhead(size: str, rounds: int, device: str = "cpu") -> dict[str, dict]:
    """A row a path: milliseconds of a step of the encoder, and its ratio to LoRA's, in turns."""
    sam = build(size).to(device)
    images = blank(sam.image_encoder, SIZES[size], device)
    work = {n: partial(step, encoder_with(sam, m), images, n) for n, m in PATHS.items()}
    times = interleaved(work, rounds, device)
    return {name: summary(times[name], times[REFERENCE]) for name in PATHS}


def removed(rows: Mapping[str, Mapping], way: str) -> float | None:
    """Share of a Conv-LoRA's overhead that NAS-LoRA removes; None where that is below NOISE."""
    nas, conv = rows[NINE]["ratio"], rows[RIVALS[way]]["ratio"]
    return removed_share(conv, nas) if conv - 1 > NOISE else None


def overhead_text(rows: Mapping[str, Mapping]) -> str:
    """Ratios with their spread, then what is removed."""
    others = (f"{name} {spread(row)}" for name, row in rows.items() if name != REFERENCE)
    return "; ".join([*others, shares_text(rows)])


def shares_text(rows: Mapping[str, Mapping]) -> str:
    """The shares that are removed, and what nine operators cost beside three."""
    parts = [
        f"of the median overhead of the {way} Conv-LoRA NAS-LoRA removes {share:.0%}"
        + (", but their spreads overlap" if _overlap(rows, way) else "")
        if (share := removed(rows, way)) is not None
        else f"the {way} Conv-LoRA adds less than {NOISE:.0%}, nothing to remove"
        for way in RIVALS
    ]
    nine = rows[NINE]["ratio"] / rows[THREE]["ratio"]
    return "; ".join([*parts, f"nine operators take {nine:.2f} of three's time"])


def spread(row: Mapping) -> str:
    """A ratio, with the lowest and the highest of its turns."""
    low, high = row["spread"]
    return f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _overlap(rows: Mapping[str, Mapping], way: str) -> bool:
    return rows[RIVALS[way]]["spread"][0] < rows[NINE]["spread"][1]
