"""What every comparison needs: nothing trained in the encoder, and everything."""

from dataclasses import dataclass

from torch import nn

from naslora_core.adapters.adaptation import Blocks, method, own_parameters, selected


@method("decoder_only", label="decoder-only")
@dataclass(frozen=True)
class DecoderOnly:
    """Train the mask decoder on a frozen encoder."""

    def inject(self, encoder: nn.Module) -> None:
        """Leave the encoder as it is."""


@method("full", label="full fine-tuning")
@dataclass(frozen=True)
class Full:
    """blocks: where; "all" is the whole encoder, patch embedding, positions and neck too."""

    blocks: Blocks = "all"

    def inject(self, encoder: nn.Module) -> None:
        """Give the chosen parts their own weights, all of them trained."""
        for part in parts(encoder, self.blocks):
            own_parameters(part)


def parts(encoder: nn.Module, blocks: Blocks) -> list[nn.Module]:
    """The chosen blocks; for "all" the encoder itself, with what stands outside its blocks."""
    return [encoder] if blocks == "all" else [b for _, b in selected(encoder, blocks)]
