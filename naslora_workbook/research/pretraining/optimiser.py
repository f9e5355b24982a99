"""How pre-training steps: Muon for the matrices of linear layers, AdamW for all else.

Muon (Jordan 2024) steps along the nearest orthogonal matrix to the momentum, so all directions of a
weight move alike. Scaled to AdamW's root mean square (Liu et al. 2025, eq. 4) it takes AdamW's rate
and weight decay.
"""

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from naslora_core.errors import UserError


class Optimisers:
    """The two optimisers of a model as one; UserError where this torch has no Muon."""

    def __init__(self, model: nn.Module, lr: float, weight_decay: float):
        if not hasattr(torch.optim, "Muon"):
            raise UserError(
                f"Pre-training needs torch.optim.Muon, this is torch {torch.__version__}; "
                "install torch 2.9 or newer."
            )
        matrices = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
        known = set(map(id, matrices))
        rest = [p for p in model.parameters() if id(p) not in known]
        how = {"lr": lr, "weight_decay": weight_decay}
        muon = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **how)
        self.both: tuple[Optimizer, ...] = (AdamW(rest, **how), muon)

    def step(self, lr: float) -> None:
        """One step at this rate."""
        for optimiser in self.both:
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.step()

    def state_dict(self) -> list[dict]:
        return [optimiser.state_dict() for optimiser in self.both]

    def load_state_dict(self, states: list[dict]) -> None:
        """UserError for the state of a leg that an earlier version began, with AdamW alone."""
        if not isinstance(states, list):
            raise UserError(
                "This leg was begun with AdamW alone, by an earlier version; begin a new one: give "
                "--out another folder."
            )
        for optimiser, state in zip(self.both, states, strict=True):
            optimiser.load_state_dict(state)
