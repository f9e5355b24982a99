"""Load what `Folded.save` wrote as safetensors."""

import json
from pathlib import Path

import torch

from naslora_core.adapters import tensor_file
from naslora_core.adapters.base import HEADS
from naslora_core.adapters.fold import FORMAT, FoldedLinear
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter
from naslora_core.sam.registry import BUILDERS

OLDER = "naslora-folded-2"  # no side branch says its windows: each sees a window alone


def load_folded(path: str | Path) -> Segmenter:
    """A folded model in eval mode, without its base, its adapter or the trainer.

    Raises UserError for a file that is missing, truncated, altered or of another format.
    """
    facts, state = tensor_file.read(path, FORMAT, OLDER)
    if facts["base_name"] not in BUILDERS:
        raise UserError(
            f"{path} holds a folded {facts['base_name']!r}; known are {', '.join(BUILDERS)}."
        )
    sam, rank = BUILDERS[facts["base_name"]](), int(facts["rank"])
    for number, name, side, margins, *windows in json.loads(facts["sides"]):
        place = f"image_encoder.blocks.{number}.{name}"
        linear = sam.get_submodule(place)
        wide, out = linear.in_features, linear.out_features - sum(margins)
        parts = torch.empty(rank, wide), torch.empty(rank, rank, side, side), torch.empty(out, rank)
        sam.set_submodule(place, FoldedLinear(linear, *parts, margins, *windows or [None]))
    head = HEADS.get(facts["head"])
    model = Segmenter(sam, head and head(sam.mask_decoder, int(facts["classes"])))
    model.load_state_dict(state)
    sam.model_name = facts["base_name"]
    return model.eval().requires_grad_(False)
