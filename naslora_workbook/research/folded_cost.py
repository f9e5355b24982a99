"""What a folded encoder costs at inference, beside the vanilla one.

Part of `python -m naslora_core bench`. All take turns in one run. A pointwise fold has the vanilla
encoder's own modules, so its ratio is 1 up to the noise of this measurement: read the others by it.
"""

from functools import partial

import torch
from torch import nn

from naslora_core.adapters.folding import fold_blocks
from naslora_core.adapters.method import frozen_twin
from naslora_core.adapters.nas_lora import NASLoRA, cells
from naslora_workbook.research.benchmark import build, infer, interleaved, summary

VANILLA = "vanilla"
POINTWISE = ("none", "skip", "conv_1x1")
FOLDED = {  # the widest survivor decides what a block costs
    "pointwise": NASLoRA(operators=POINTWISE),
    "3x3 beside": NASLoRA(operators=("conv_3x3",)),
    "5x5 beside": NASLoRA(),
    "5x5 on the map": NASLoRA(place="map"),
}


def measure_folded(
    size: str, rounds: int = 9, batch: int = 1, device: str = "cpu"
) -> dict[str, dict]:
    """A row an encoder: milliseconds of an inference (median), its ratio to vanilla paired by turn
    (median, lowest, highest), and the multiply-adds a token of all its side branches."""
    encoder = build(size).to(device).image_encoder
    side = encoder.img_size
    images = torch.randn(batch, 3, side, side, device=device)
    encoders = {VANILLA: (encoder, 0)} | {n: folded(encoder, m) for n, m in FOLDED.items()}
    work = {name: partial(infer, module, images) for name, (module, _) in encoders.items()}
    times = interleaved(work, rounds, device)
    return {name: _row(times, name) | {"side_macs": encoders[name][1]} for name in encoders}


@torch.no_grad()
def folded(encoder: nn.Module, method: NASLoRA) -> tuple[nn.Module, int]:
    """A folded copy with the method's operators all alive, and its side branches' cost."""
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


def _row(times: dict, name: str) -> dict:
    found = summary(times[name], times[VANILLA])
    return {f"inference_{key}": value for key, value in found.items()}


def folded_table(size: str, rows: dict[str, dict]) -> str:
    """The rows as text."""
    head = f"{size + ', folded':>22}  inference (ms)  of vanilla  lowest  highest  MACs/token"
    lines = (
        f"{name:>22}  {r['inference_ms']:>14.1f}  {r['inference_ratio']:>10.3f}"
        f"  {r['inference_spread'][0]:>6.3f}  {r['inference_spread'][1]:>7.3f}"
        f"  {r['side_macs']:>10}"
        for name, r in rows.items()
    )
    return "\n".join([head, *lines])
