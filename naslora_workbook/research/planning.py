"""What `python -m naslora_core plan` prints."""

import argparse
from functools import cache, partial

import torch

from naslora_core.cli.method_settings import method_of
from naslora_core.errors import UserError
from naslora_workbook.research.calibration import calibrate
from naslora_workbook.research.plan import ROOM, Plan, propose
from naslora_workbook.research.plan import plan as predict


def plan(arguments: argparse.Namespace) -> None:
    """Print what the setting asked for needs, part by part, and what fits."""
    a = arguments
    method = method_of(a.method, a.set)
    if a.batch < 1:
        raise UserError(f"A batch of {a.batch} holds no image; take at least 1.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rates = None if a.no_time else cache(partial(calibrate, a.model, device=device))
    how = a.model, method, a.batch, a.precision, a.checkpointing
    asked = predict(*how, calibration=rates and rates(a.precision))
    print(f"{a.model}, {a.method}, {asked}")
    print(_parts(asked))
    where = "" if device == "cuda" else ": no GPU is here, its kernels may keep a little more"
    what = "Kernels" if a.no_time else "Kernels and time"
    print(f"{what} of this machine's {device}{where}.")
    if a.card:
        found = propose(asked, a.card, rates)
        print(f"Into {a.card:g} GB ({ROOM:.0%} of them used) fits: {found}")


def _parts(asked: Plan) -> str:
    """Where the bytes go."""
    need = asked.need
    parts = {"weights": need.weights, "AdamW": need.states, "gradients": need.gradients}
    parts |= {"kept for backward": need.kept, "largest moment beside weights": need.working}
    return "  " + ", ".join(f"{name} {size / 1e9:.3f} GB" for name, size in parts.items())
