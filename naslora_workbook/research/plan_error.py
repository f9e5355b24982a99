"""Plans held against what is then measured, on this machine.

    python -m naslora_core measure plan --sizes nano vit_b

Peak memory of whole training steps of `sam_nano`, and of steps of one windowed and one global block
of ViT-B at 1024, by the profiler's memory events; their time by a calibration made just before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from naslora_core.adapters import METHODS, adapt
from naslora_core.adapters.method import frozen_twin
from naslora_core.sam import build_nano, fuse
from naslora_core.sam.checkpointing import checkpointed
from naslora_workbook.research.allocated import whole_peak
from naslora_workbook.research.benchmark import build
from naslora_workbook.research.calibration import Calibration, calibrate, seconds, tail_footprint
from naslora_workbook.research.footprint import Footprint, footprint
from naslora_workbook.research.plan import placed
from naslora_workbook.research.planned_step import autocast, training_loss


@dataclass(frozen=True)
class Case:
    """method: a name of METHODS; fused: the attention of ViT-B's blocks (nano's is official)."""

    size: str
    method: str
    batch: int = 1
    precision: str = "fp32"
    checkpointing: bool = False
    blocks: str = "all"
    fused: bool = True


CASES = (
    Case("nano", "lora", 1),
    Case("nano", "lora", 8),
    Case("nano", "lora", 8, blocks="late-2"),
    Case("nano", "lora", 8, checkpointing=True),
    Case("nano", "nas_lora", 4, "bf16"),
    Case("nano", "nas_lora", 8),
    Case("nano", "conv_lora", 4),
    Case("nano", "full", 4),
    Case("nano", "lst", 8),
    Case("nano", "decoder_only", 8),
    Case("vit_b", "lora"),
    Case("vit_b", "lora", 2),
    Case("vit_b", "full"),
    Case("vit_b", "conv_lora"),
    Case("vit_b", "nas_lora", 1, "bf16"),
    Case("vit_b", "nas_lora", 2, blocks="late-1"),
    Case("vit_b", "nas_lora", checkpointing=True),
    Case("vit_b", "lora", fused=False),
)


def held(case: Case, rates: Calibration | None, rounds: int = 2) -> dict:
    """Predicted and measured peak bytes of a case and, with rates, seconds; with their ratios."""
    module, forward = _module(case)
    need = footprint(module, forward)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained)

    def step():
        forward(module).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    step()  # the states are there from now on
    said, found = {"peak": need.peak}, {"peak": whole_peak(module, optimiser, step)}
    if rates:
        said["seconds"] = round(rates.seconds(need, _end(case)), 4)
        found["seconds"] = round(seconds(step, rounds=rounds, warm=False), 4)
    ratio = {k: round(said[k] / found[k], 4) for k in said}
    return vars(case) | {"predicted": said, "measured": found, "ratio": ratio}


def _module(case: Case) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    """A model with its loss of one step."""
    method = METHODS[case.method]
    method = placed(method, case.blocks) if case.blocks != "all" else method
    how = case.batch, case.precision, case.checkpointing
    if case.size == "nano":
        model = adapt(build_nano().eval().requires_grad_(False), method).train()
        return model, lambda m: training_loss(m, *how)
    encoder = frozen_twin(build(case.size)).image_encoder
    encoder = fuse(encoder) if case.fused else encoder
    encoder = method.inject(encoder) or encoder
    return encoder.train(), lambda e: _encoder_loss(e, case)


def _end(case: Case) -> Footprint | None:
    """The decoder's part of a case; ViT-B's blocks have none."""
    if case.size != "nano":
        return None
    return tail_footprint("sam_nano", case.batch, case.precision, "cpu")


def _encoder_loss(encoder: nn.Module, case: Case) -> Tensor:
    images = torch.zeros(case.batch, 3, encoder.img_size, encoder.img_size)
    with autocast(case.precision, "cpu"), checkpointed(encoder, case.checkpointing):
        return encoder(images).float().square().mean()


def hold(sizes, rounds: int = 2) -> Iterator[dict]:
    """A row a case of these sizes; memory alone where there are no rounds, and of official
    attention, which `plan` never proposes for vit_*: it is calibrated for what `load_sam` makes."""
    rates = {}
    for case in (c for c in CASES if c.size in sizes):
        kind = "sam_nano" if case.size == "nano" else case.size, case.precision
        timed = rounds and case.fused
        if timed:
            rates[kind] = rates.get(kind) or calibrate(*kind)
        yield held(case, rates[kind] if timed else None, rounds)


def line(row: dict) -> str:
    """A case as a line: what was asked, what was measured, prediction over measurement."""
    words = [row["size"], row["method"], f"batch {row['batch']}", row["precision"]]
    words += ["checkpointing"] * row["checkpointing"] + [row["blocks"]] * (row["blocks"] != "all")
    words += ["official attention"] * (not row["fused"])
    found, ratio = row["measured"], row["ratio"]
    text = f"{' '.join(words):<48} {found['peak'] / 1e6:9.1f} MB ({ratio['peak']:.3f})"
    if "seconds" in found:
        text += f"  {found['seconds']:7.2f} s ({ratio['seconds']:.2f})"
    return text
