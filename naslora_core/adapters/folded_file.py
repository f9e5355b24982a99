"""Load what `Folded.save` wrote as safetensors."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from naslora_core.adapters.fold import FORMAT, FoldedLinear
from naslora_core.errors import UserError
from naslora_core.sam import MaskHead, Segmenter
from naslora_core.sam.registry import BUILDERS


def load_folded(path: str | Path) -> Segmenter:
    """A folded model in eval mode, without its base, its adapter or the trainer.

    Raises UserError for a file that is missing, broken or of another format.
    """
    try:
        with safe_open(path, "pt") as file:
            facts, state = file.metadata() or {}, {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a readable folded model ({error}).") from error
    if facts.get("format") != FORMAT:
        raise UserError(f"{path} has format {facts.get('format')!r}; expected {FORMAT!r}.")
    sam, rank = BUILDERS[facts["base_name"]](), int(facts["rank"])
    for number, side in json.loads(facts["sides"]).items():
        attention = sam.image_encoder.blocks[int(number)].attn
        wide, out = attention.qkv.in_features, attention.qkv.out_features
        parts = torch.empty(rank, wide), torch.empty(rank, rank, side, side), torch.empty(out, rank)
        attention.qkv = FoldedLinear(attention.qkv, *parts)
    classes = int(facts["classes"])
    head = MaskHead(sam.mask_decoder, classes) if classes > 1 else None
    model = Segmenter(sam, head)
    model.load_state_dict(state)
    sam.model_name = facts["base_name"]
    return model.eval().requires_grad_(False)
