"""The training step that a plan speaks of, on blank images: whole, or its end alone."""

import torch
from torch import Tensor, nn

from naslora_core.adapters import DecoderOnly, adapt
from naslora_core.errors import known
from naslora_core.sam import fuse
from naslora_core.sam.checkpointing import checkpointed
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.training.losses import cross_entropy_dice

TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: str) -> torch.autocast:
    """The region of a forward pass in this precision."""
    known(precision, TYPES, "Unknown precision")
    dtype = TYPES[precision]
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype is not None)


def hollow_sam(model: str) -> nn.Module:
    """A SAM of BUILDERS as `load_sam` makes it, on the meta device: shapes without values."""
    known(model, BUILDERS, "There is no model")
    with torch.device("meta"):
        sam = BUILDERS[model]().eval().requires_grad_(False)
    if model != "sam_nano":
        fuse(sam.image_encoder)
    return sam


def training_loss(
    model: nn.Module, batch: int, precision: str = "fp32", checkpointing: bool = False, device="cpu"
) -> Tensor:
    """The loss of one step on blank images, as `fit` computes it."""
    side = model.image_size
    images = torch.zeros(batch, 3, side, side, device=device)
    masks = torch.zeros(batch, side, side, dtype=torch.uint8, device=device)
    with autocast(precision, device), checkpointed(model.sam.image_encoder, checkpointing):
        out = model(images)
    return cross_entropy_dice(out.masks.float(), masks) + model.auxiliary_loss()


def tail(model: str) -> nn.Module:
    """A model of BUILDERS whose image embedding is given: what is left of a step is its decoder
    and its loss. On the meta device."""
    whole = adapt(hollow_sam(model), DecoderOnly()).train()
    prompts = whole.sam.prompt_encoder
    shape = prompts.embed_dim, *prompts.image_embedding_size
    whole.sam.image_encoder = Given(whole.image_size, shape)
    return whole


class Given(nn.Module):
    """In the place of an image encoder: embeddings `B C h w` of zeros that want a gradient."""

    def __init__(self, img_size: int, shape: tuple[int, int, int]):
        super().__init__()
        self.img_size, self.shape, self.blocks = img_size, shape, nn.ModuleList()

    def forward(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), *self.shape).requires_grad_(True)
