"""SAM-Adapter (T. Chen et al. 2023, after EVP): every block is told of the image's fine detail."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.adaptation import Blocks, method, selected
from naslora_core.errors import UserError
from naslora_workbook.research.methods.encoder_wrapper import EncoderWrapper


def high_frequencies(x: Tensor, masked: float = 0.25) -> Tensor:
    """|x| of an image `B 3 S S` without the centre of its spectrum, of area `masked`; in float32.

    The absolute value is that of EVP's code.
    """
    spectrum = torch.fft.fftshift(torch.fft.fft2(x.float()), dim=(-2, -1))
    (H, W), side = x.shape[-2:], masked**0.5 / 2
    h, w = int(H * side), int(W * side)
    spectrum[..., H // 2 - h : H // 2 + h, W // 2 - w : W // 2 + w] = 0
    image = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1)))
    return image.real.abs().to(x.dtype)


class DetailEncoder(EncoderWrapper):
    """The frozen encoder with prompts at its blocks' inputs, `B 3 S S` to `B C h w`."""

    why_unfoldable = "what it adds depends on the image"

    def __init__(self, encoder: nn.Module, reduction: int, masked: float, blocks: Blocks):
        super().__init__(encoder)
        conv, width, self.masked = encoder.patch_embed.proj, self.width(reduction), masked
        self.from_patches = nn.Linear(conv.out_channels, width)  # W_pe
        self.from_detail = nn.Conv2d(3, width, conv.kernel_size, conv.stride)  # W_hf
        chosen = selected(encoder, blocks)
        self.tune = nn.ModuleDict({str(i): nn.Linear(width, width) for i, _ in chosen})  # W_i
        self.up = nn.Linear(width, conv.out_channels)  # W_up, shared
        for zero in self.up.parameters():
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embed(x)
        detail = self.from_detail(high_frequencies(x, self.masked))
        # F = W_pe E(x) + W_hf HF(x)
        features = self.from_patches(patches) + detail.permute(0, 2, 3, 1)
        tokens = self.placed(patches)
        for i, block in enumerate(self.blocks):
            if str(i) in self.tune:
                # block input += W_up GELU(W_i F)
                tokens = tokens + self.up(F.gelu(self.tune[str(i)](features)))
            tokens = block(tokens)
        return self.neck(tokens.permute(0, 3, 1, 2))


@method("sam_adapter", label="SAM-Adapter")
@dataclass(frozen=True)
class SAMAdapter:
    """reduction: width d / reduction; masked: share of the spectrum removed; blocks: where."""

    reduction: int = 32
    masked: float = 0.25
    blocks: Blocks = "all"

    def __post_init__(self):
        if not 0 <= self.masked < 1:
            raise UserError(f"masked={self.masked} leaves no image; take a share below 1.")

    def inject(self, encoder: nn.Module) -> nn.Module:
        """The encoder with prompts of the image's detail."""
        return DetailEncoder(encoder, self.reduction, self.masked, self.blocks)
