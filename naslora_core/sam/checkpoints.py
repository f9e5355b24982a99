"""Names of models, their checkpoints, and what the message on a wrong checkpoint says."""

import hashlib
import json
import re
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from torch import nn

from naslora_core.download import fetch
from naslora_core.errors import UserError, fault, known, some
from naslora_core.files import SAFETENSORS, as_path, kind_of, where_in
from naslora_core.sam.foreign_weights import to_official
from naslora_core.sam.fused_attention import fuse
from naslora_core.sam.sam_nano import build_nano

WEIGHTS = Path(__file__).parents[1] / "weights"
VITS = {"vit_b": build_sam_vit_b, "vit_l": build_sam_vit_l, "vit_h": build_sam_vit_h}
BUILDERS = {"sam_nano": build_nano} | VITS
DEPTHS = {6: "sam_nano", 12: "vit_b", 24: "vit_l", 32: "vit_h"}  # blocks of the image encoder


def load_sam(name: str = "sam_nano", checkpoint: str | Path | None = None) -> nn.Module:
    """A frozen SAM in eval mode: `sam_nano` with its packaged weights, or an official `vit_*`.

    checkpoint: a file of yours, in the official layout or Hugging Face's, bare or wrapped (see
    `foreign_weights`); without one, a `vit_*` is fetched once (375 MB to 2.6 GB, see
    `naslora_core.download`). Its attention is fused: the same values, no N x N tensor. Raises
    UserError for an unknown name, and for a checkpoint that is missing, truncated, altered (by its
    checksum), with a nan or of another model.
    """
    known(name, BUILDERS, "There is no model")
    if checkpoint is None and name != "sam_nano":
        checkpoint = fetch(name)
    path = as_path(checkpoint or WEIGHTS / "sam_nano.safetensors")
    state = read_state(path, expected=None if checkpoint else manifest()["sha256"])
    sam = BUILDERS[name]()
    _fill(sam, to_official(state, path), name, path)
    sam.model_name = name
    # A fused layer of ViT-B keeps 146 MB on the map instead of 818. On an H200 an encoder takes .5
    # of the official one's time in bf16, 1.14 in float32. On small maps fusing gains nothing.
    if name != "sam_nano":
        fuse(sam.image_encoder)
    return sam.eval().requires_grad_(False)


def manifest(folder: Path = WEIGHTS) -> dict:
    """What `sam_nano` is: sha256, command, scenes seen, minutes, device (sam_nano.json)."""
    return json.loads((folder / "sam_nano.json").read_text())


def read_state(path: Path, expected: str | None = None) -> dict[str, torch.Tensor]:
    """What a `.safetensors` or `.pth` file holds; `expected` is its sha256 where known."""
    if not path.is_file():
        remedy = where_in(path, "*.index.json", "*.safetensors", "*.bin", "*.pt*")
        raise fault("There is no checkpoint", f"at {path}", "a file of weights", remedy)
    found = hashlib.sha256(path.read_bytes()).hexdigest() if expected else None
    if found != expected:
        given = f"is truncated or altered (sha256 {found[:12]})"
        raise fault(path.name, given, expected[:12], "restore it (reinstall, or git checkout)")
    try:
        if path.name.endswith(".index.json"):  # of parts, as Hugging Face writes a large model
            parts = {path.with_name(n) for n in json.loads(path.read_text())["weight_map"].values()}
            return {name: t for part in parts for name, t in read_state(part).items()}
        if kind_of(path) == SAFETENSORS:
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of a TorchScript
            with path.open("rb") as file:  # by a path, torch would go by its ending
                return torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # SafetensorError, UnpicklingError, EOFError, RuntimeError, ...
        raise _unread(path, str(error)) from error


def _unread(path: Path, reason: str) -> UserError:
    """What is wrong with a file of which torch or safetensors could not read tensors."""
    if held := re.search(r"GLOBAL ([\w.]+)", reason):
        given = f"holds Python objects ({held[1]}), which are not loaded, for they may run code"
        call = "torch.save(torch.load(FILE, weights_only=False)['model'], NEW_FILE)"
        return fault(path.name, given, "tensors alone", f"where you trust the file, {call}")
    given = f"is {kind_of(path)} that does not read"
    return fault(path.name, given, "a whole file of tensors", "fetch it again")


def _fill(sam: nn.Module, state: dict, name: str, path: Path) -> None:
    if given := unlike(own := sam.state_dict(), state):
        blocks = {key.split(".")[2] for key in state if key.startswith("image_encoder.blocks.")}
        near = DEPTHS.get(len(blocks))
        remedy = f"take it as --model {near}" if near and near != name else "take another"
        raise fault(path.name, given, f"the {len(own)} tensors of {name}", remedy)
    sam.load_state_dict(state)


def unlike(wanted: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> str:
    """How tensors differ from those that are wanted, in names and shapes; "" where they do not."""
    same = wanted.keys() & found
    lists = {
        "misses": sorted(wanted.keys() - found),
        "has unknown": sorted(found.keys() - wanted),
        "has another shape of": sorted(n for n in same if wanted[n].shape != found[n].shape),
    }
    return ", ".join(f"{what} {some(names, 'tensor')}" for what, names in lists.items() if names)


def model_hash(sam: nn.Module) -> str:
    """sha256 over the names and bytes of all tensors of a model, in order of their names."""
    digest = hashlib.sha256()
    for key, tensor in sorted(sam.state_dict().items()):
        digest.update(key.encode())
        digest.update(raw(tensor))
    return digest.hexdigest()


def base_of(sam: nn.Module) -> str:
    """Name and first digits of the hash of a model, as records name the base they stand on."""
    return f"{getattr(sam, 'model_name', 'unnamed')} {model_hash(sam)[:12]}"


def raw(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor of any type, bfloat16 too, which numpy does not know."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes()
