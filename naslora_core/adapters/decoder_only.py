"""Nothing in the encoder: the baseline that every comparison needs."""

from dataclasses import dataclass

from torch import nn

from naslora_core.adapters.adaptation import method


@method("decoder_only", label="decoder-only")
@dataclass(frozen=True)
class DecoderOnly:
    """Train the mask decoder on a frozen encoder."""

    def inject(self, encoder: nn.Module) -> None:
        """Leave the encoder as it is."""
