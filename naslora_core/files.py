"""Write a file whole or not at all."""

import os
import tempfile
from pathlib import Path

from naslora_core.errors import UserError


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Write aside in the same folder, flush to disk, then rename: the old file stays until then.

    UserError where it cannot be written.
    """
    path = writable(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        _write_aside(path, data)
    except OSError as error:  # a full disk, a share that is gone
        raise UserError(
            f"{path} could not be written ({error.strerror or error}); what was there before is "
            "kept; make room, or name another place."
        ) from error


def _write_aside(path: Path, data: bytes) -> None:
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def make_folder(path: str | Path) -> Path:
    """The folder at `path`, made where it is not there; UserError where nothing can go into it."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be made a folder ({error.strerror}); expected a new name or a folder; "
            "name another."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be written to; name another folder.")
    return path


def writable(path: str | Path) -> Path:
    """The path, if a file can be written there; UserError where it cannot."""
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it.")
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder} to write {path.name} into; make it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder} cannot be written to; name another folder for {path.name}.")
    return path


KINDS = {  # of a file by its first bytes
    b"PK": "a file of torch.save, such as a checkpoint of segment_anything or a run's state.pt",
    b"\x80": "a pickle, such as an old file of torch.save",
    b"\x89PNG": "a picture",
    b"\xff\xd8": "a picture",
    b"{": "a JSON file",
    b"\x08": "an ONNX graph, for onnxruntime",
}


def kind_of(path: Path) -> str:
    """What a file seems to be by its first bytes, for a message on a file that is another's."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    if len(start) == 9 and start[8:] == b"{":
        return "a safetensors file"  # eight bytes of length, then JSON
    return next((what for sign, what in KINDS.items() if start.startswith(sign)), "another file")
