"""What the tests of adapters share: a small random SAM, images, models as after a training."""

import torch
from tiny import SIDE, build_tiny

from naslora_core.adapters import DecoderOnly, FixedConv, LoRA, NASLoRA
from naslora_core.search import operator_registry as registry
from naslora_core.search.operator_registry import Operator, operator

POINTWISE = ("none", "skip", "conv_1x1")
METHODS = {
    "decoder_only": DecoderOnly(),
    "lora": LoRA(rank=3, scale=0.7),
    "fixed_3x3": FixedConv(rank=4),
    "fixed_5x5": FixedConv(rank=2, side=5),
    "nas_lora": NASLoRA(rank=4),
    "nas_lora_plain": NASLoRA(rank=3, start="plain", scale=2.0),
    "nas_lora_identity": NASLoRA(rank=2, start="identity", blocks="global"),
    "nas_lora_pointwise": NASLoRA(rank=4, operators=POINTWISE),
}


def small_sam(seed=0):
    """A SAM of six blocks, of which every tensor is random: the official class starts position
    tables at zero."""
    torch.manual_seed(seed)
    sam = build_tiny(depth=6).eval()
    with torch.no_grad():
        for name, p in sam.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                p.normal_(std=0.1)
    return sam.requires_grad_(False)


def random_images(count=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 3, SIDE, SIDE, generator=g) * 255).round()


def shaken(model, seed=1):
    """The model as after a training: every trained tensor moved, alpha far from uniform."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.trainable().items():
            std = 1.0 if name.endswith("arch_alpha") else 0.3 / p.shape[-1] ** 0.5
            p.add_(torch.randn(p.shape, generator=g) * std)
    return model


def trained_step(model, images, steps=2):
    """A few steps of AdamW on an arbitrary loss."""
    optimiser = torch.optim.AdamW(model.trainable().values(), 1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        model(images).low_res.sigmoid().mean().backward()
        optimiser.step()
    return model


def register_max_pool(monkeypatch):
    """An operator that no kernel can express, for the length of one test."""
    monkeypatch.setattr(registry, "REGISTRY", dict(registry.REGISTRY))

    @operator("max_of_3x3")
    class MaxPool(Operator):
        side = 3

        def forward(self, z):
            return torch.nn.functional.max_pool2d(z, 3, 1, 1)
