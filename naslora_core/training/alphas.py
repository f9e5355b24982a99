"""The architecture vectors of a model while they are trained: temperature, entropy, what they say.

A vector that cells share is here once; a cell whose alpha does not move has none here.
"""

import torch
from torch import Tensor, nn

from naslora_core.search import Cell, entropy
from naslora_core.search.cell import heat


class Alphas:
    """Every trained arch_alpha `n` of a model, and the cells that read them."""

    def __init__(self, model: nn.Module):
        trained = model.trained().items()
        self.parameters = [p for name, p in trained if name.endswith("arch_alpha")]
        own = {id(p) for p in self.parameters}
        cells = (m for m in model.modules() if isinstance(m, Cell))
        self.cells = [c for c in cells if id(c.arch_alpha) in own]

    def heat(self, temperature: float | None) -> None:
        """Give every cell this temperature; None leaves them as they are."""
        heat(self.cells, temperature)

    def probabilities(self) -> list[Tensor]:
        """softmax(alpha / temperature) of every vector, in order, each `n`."""
        of = {id(c.arch_alpha): c for c in self.cells}
        return [of[id(p)].probabilities() for p in self.parameters]

    def entropy(self) -> Tensor:
        """Mean over the vectors: 1 uniform, 0 one-hot."""
        return torch.stack([entropy(p) for p in self.probabilities()]).mean()

    @torch.no_grad()
    def event(self) -> dict:
        """What an event tells: probabilities, and the temperature that made them."""
        if not self.parameters:
            return {}
        heat = round(self.cells[0].temperature.item(), 6)
        return {"alpha": [p.tolist() for p in self.probabilities()], "temperature": heat}
