"""Tensors and their description in one safetensors file that notices any change to either."""

import hashlib
import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from naslora_core.errors import UserError, fault
from naslora_core.files import as_path, kind_of, not_read, where_in, write_atomic
from naslora_core.sam.checkpoints import raw

OURS = "an adapter (`fit` leaves best.safetensors in its --out folder) or a folded model"


def write(path: str | Path, tensors: dict[str, Tensor], facts: dict[str, str]) -> Path:
    """Write whole or not at all; the digest of both goes into the metadata."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_atomic(path, _ordered(save(tensors, facts | {"digest": digest(tensors, facts)})))
    return Path(path)


def _ordered(data: bytes) -> bytes:
    """The same safetensors file (8 bytes of the header's length, the header in JSON, the tensors)
    with its description in order of the keys, so that equal content gives equal bytes."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def read(path: str | Path, *formats: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """(description, tensors); UserError for a file that is missing, truncated, altered or of
    another format."""
    path, facts = as_path(path), describe(path, *formats)
    with safe_open(path, "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}
    found, wanted = facts.pop("digest", ""), digest(tensors, facts)
    if found != wanted:
        raise UserError(
            f"{path.name} says sha256 {found[:12]} of itself and has {wanted[:12]}: it was altered "
            "after it was saved; fetch or save it anew."
        )
    return facts, tensors


def describe(path: str | Path, *formats: str) -> dict[str, str]:
    """The description alone, not yet held against the digest; UserError as in `read`."""
    path = as_path(path)
    if not path.is_file():
        raise fault("There is no file", str(path), OURS, where_in(path, "best.*", "*.safetensors"))
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        if not os.access(path, os.R_OK):
            raise not_read(path, PermissionError(13, "Permission denied")) from error
        given = f"is {kind_of(path)} and does not read as one of ours ({error})"
        raise fault(path, given, OURS, "name one, whole") from error
    if (found := facts.get("format")) not in formats:
        remedy = "something else wrote it, or another version of this package: take that"
        raise fault(path.name, f"has format {found!r}", " or ".join(map(repr, formats)), remedy)
    return facts


def digest(tensors: dict[str, Tensor], facts: dict[str, str]) -> str:
    """sha256 over the description and every tensor's name and bytes, in order of the names."""
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(raw(tensors[name]))
    return found.hexdigest()
