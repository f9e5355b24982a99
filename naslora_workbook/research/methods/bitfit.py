"""BitFit (Ben Zaken et al. 2022): train the biases, y = W0 x + b."""

from dataclasses import dataclass

from torch import nn

from naslora_core.adapters.adaptation import Blocks, method
from naslora_core.adapters.baselines import parts


@method("bitfit", label="BitFit")
@dataclass(frozen=True)
class BitFit:
    """blocks: where; "all" includes the patch embedding and the norms of the neck.

    Nothing is added, so a trained encoder loads into the official class as it is.
    """

    blocks: Blocks = "all"

    def inject(self, encoder: nn.Module) -> None:
        """Give every bias of the chosen parts its own, trained tensor."""
        for part in parts(encoder, self.blocks):
            for module in part.modules():
                if isinstance(getattr(module, "bias", None), nn.Parameter):
                    module.bias = nn.Parameter(module.bias.detach().clone())
