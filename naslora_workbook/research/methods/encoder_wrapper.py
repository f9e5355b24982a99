"""What stands beside a whole encoder takes its place and keeps its parts."""

from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from naslora_core.adapters.adaptation import require_unadapted
from naslora_core.errors import UserError


class EncoderWrapper(nn.Module):
    """The parts of an official encoder under their names; a subclass says how they are called."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        require_unadapted(encoder, ImageEncoderViT, "The encoder")
        self.img_size = encoder.img_size
        self.patch_embed, self.pos_embed = encoder.patch_embed, encoder.pos_embed
        self.blocks, self.neck = encoder.blocks, encoder.neck

    def placed(self, patches: Tensor) -> Tensor:
        """Patch embeddings `B h w d` with their absolute positions."""
        return patches if self.pos_embed is None else patches + self.pos_embed

    def width(self, reduction: int) -> int:
        """d / reduction, at least 1."""
        if reduction < 1:
            raise UserError(f"reduction={reduction} divides nothing; take at least 1.")
        return max(1, self.patch_embed.proj.out_channels // reduction)
