"""Checkpoints of SAM as other programs write them: wrapped, renamed, or of another model."""

import re
from pathlib import Path

import torch
from torch import Tensor

from naslora_core.errors import fault, first

WRAPPERS = ("model", "state_dict", "model_state_dict", "sam", "module")
ENCODER = re.compile(r"(.*?)\b(image|vision)_encoder\.")  # and what stands before all names
# Hugging Face's names of a SamModel, rewritten one after another to segment_anything's
HUGGING_FACE = (
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.patch_embed\.projection", "image_encoder.patch_embed.proj"),
    (r"^vision_encoder\.neck\.conv1", "image_encoder.neck.0"),
    (r"^vision_encoder\.neck\.layer_norm1", "image_encoder.neck.1"),
    (r"^vision_encoder\.neck\.conv2", "image_encoder.neck.2"),
    (r"^vision_encoder\.neck\.layer_norm2", "image_encoder.neck.3"),
    (r"^vision_encoder\.", "image_encoder."),
    (r"^shared_image_embedding\.positional_embedding",
     "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"^prompt_encoder\.mask_embed\.conv1", "prompt_encoder.mask_downscaling.0"),
    (r"^prompt_encoder\.mask_embed\.layer_norm1", "prompt_encoder.mask_downscaling.1"),
    (r"^prompt_encoder\.mask_embed\.conv2", "prompt_encoder.mask_downscaling.3"),
    (r"^prompt_encoder\.mask_embed\.layer_norm2", "prompt_encoder.mask_downscaling.4"),
    (r"^prompt_encoder\.mask_embed\.conv3", "prompt_encoder.mask_downscaling.6"),
    (r"^mask_decoder\.upscale_conv1", "mask_decoder.output_upscaling.0"),
    (r"^mask_decoder\.upscale_layer_norm", "mask_decoder.output_upscaling.1"),
    (r"^mask_decoder\.upscale_conv2", "mask_decoder.output_upscaling.3"),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.0", r"\1.layers.1"),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.proj_in", r"\1.layers.0"),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.proj_out", r"\1.layers.2"),
    (r"\.layer_norm_final_attn", ".norm_final_attn"),
    (r"\.layer_norm(\d)", r".norm\1"),
)  # fmt: skip
TWICE = "prompt_encoder.shared_embedding."  # Hugging Face's second name of a tensor
OTHERS = (  # what a name in a file says of the model that it is of
    (r"image_encoder\.trunk\.|sam_mask_decoder|memory_encoder|vision_encoder\.backbone", "SAM 2"),
    (r"^vision_encoder\.", "Hugging Face's SamModel, without the layers of its encoder"),
    (r"^detector\.|^tracker\.", "SAM 3"),
    (r"image_encoder\.patch_embed\.seq|image_encoder\.layers\.\d", "MobileSAM"),
    (
        r"image_encoder\.(stages|backbone|features)\.|final_output_upscaling",
        "a smaller SAM (EdgeSAM, EfficientViT-SAM, RepViT-SAM or EfficientSAM)",
    ),
    (r"mask_decoder\.(hf_|compress_vit_feat)", "HQ-SAM"),
    (r"\.[a-z]*[Aa]dapter\.", "a SAM with adapters of another program, such as SAM-Med2D"),
    (r"lora_[AB]\b|\.lora_", "LoRA weights of another program, without their base"),
    (r"^head\.(token|mlps?)|\.(We|Wd)$", "an adapter or a folded model of this package"),
)


def to_official(state, path: Path) -> dict[str, Tensor]:
    """Tensors under segment_anything's names, float32, from what a file holds.

    Taken out of `model` or `state_dict`, freed of `module.` and the like, renamed from Hugging
    Face's SamModel. Raises UserError for a file of no tensors, of another model (named), and with
    a nan.
    """
    tensors = _bare(_unwrapped(state, path))
    if any(name.startswith("vision_encoder.layers.") for name in tensors):
        tensors = from_hugging_face(tensors)
    _of_sam(tensors, path)
    if whole := [name for name, t in tensors.items() if not t.is_floating_point()]:
        remedy = "it is quantised or of something else: take one in float32 or half precision"
        raise fault(path.name, f"holds whole numbers, in {first(whole)}", "weights", remedy)
    if bad := [name for name, t in tensors.items() if not torch.isfinite(t.float()).all()]:
        given = f"holds numbers that are nan or infinite, in {first(bad)}"
        remedy = "its training diverged or the file is damaged: take another checkpoint"
        raise fault(path.name, given, "finite weights", remedy)
    return {name: t.float() for name, t in tensors.items()}


def from_hugging_face(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a transformers.SamModel under segment_anything's names."""
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith(TWICE):
            continue
        for pattern, new in HUGGING_FACE:
            name = re.sub(pattern, new, name)
        renamed[name] = tensor
    return renamed


def _unwrapped(state, path: Path) -> dict[str, Tensor]:
    """The dictionary of tensors inside of wrappers."""
    if isinstance(inner := _wrapped(state), dict):
        return _unwrapped(inner, path)
    held, tensors = type(state).__name__, {}
    if isinstance(state, dict):
        held = ", ".join(map(str, state))[:80]
        tensors = {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        given = f"holds no tensors by name but {held or 'nothing'}"
        remedy = "give them, or a dictionary that holds them as model or state_dict"
        raise fault(path.name, given, "the weights of a SAM", remedy)
    return tensors


def _wrapped(state):
    """What is under a usual name, or else is the only dictionary beside no tensor; or None."""
    held = state if isinstance(state, dict) else {}
    inner = [value for value in held.values() if isinstance(value, dict)]
    usual = [held[word] for word in WRAPPERS if isinstance(held.get(word), dict)]
    bare = any(isinstance(value, Tensor) for value in held.values())
    return usual[0] if usual else inner[0] if len(inner) == 1 and not bare else None


def _bare(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what stands before `image_encoder`, and without what stands beside the SAM."""
    before = next((found[1] for name in tensors if (found := ENCODER.match(name))), "")
    return {n.removeprefix(before): t for n, t in tensors.items() if n.startswith(before)}


def _of_sam(tensors: dict[str, Tensor], path: Path) -> None:
    """UserError naming the model, where the names are another's."""
    expected = "weights of the first Segment Anything (vit_b, vit_l, vit_h) or of sam_nano"
    for pattern, model in OTHERS:
        if any(re.search(pattern, name) for name in tensors):
            raise fault(path.name, f"is of {model}", expected, "give such a checkpoint")
    if not any(name.startswith("image_encoder.") for name in tensors):
        raise fault(path.name, f"holds {first(list(tensors))}", expected, "give such a checkpoint")
