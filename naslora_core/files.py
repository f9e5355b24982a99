"""Read and write files with one sentence for what goes wrong; write them whole or not at all."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from naslora_core.errors import UserError, fault


def as_path(path: str | Path) -> Path:
    """A path; UserError for what is none."""
    try:
        return Path(path)
    except TypeError as error:
        raise fault(f"{path!r:.60}", "is no path", "text, or a Path", "give one") from error


def write_atomic(path: str | Path, content: bytes | str | Callable[[BinaryIO], None]) -> None:
    """Write aside in the same folder, flush to disk, then rename: the old file stays until then.

    content: or a function that writes into the open file. Permissions: as the umask has them.
    """
    path = writable(path)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    content = content.encode() if isinstance(content, str) else content
    try:
        with aside.open("xb") as file:  # permissions: 0666 less the umask
            content(file) if callable(content) else file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:  # a full disk, a share that is gone
        raise not_written(path, error) from error
    finally:
        aside.unlink(missing_ok=True)


def not_written(path: Path, error: OSError) -> UserError:
    """The sentence for a file that could not be written."""
    given = f"could not be written ({error.strerror or error}); what was there before is kept"
    return UserError(f"{path} {given}; make room, or name another place.")


def append(path: Path, text: str) -> None:
    """Add text at the end of a file; UserError where it cannot be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise not_written(path, error) from error


def read(path: str | Path) -> bytes:
    """The content of a file; UserError where it is absent or may not be read."""
    try:
        return as_path(path).read_bytes()
    except OSError as error:
        raise not_read(path, error) from error


def not_read(path: str | Path, error: OSError) -> UserError:
    """The sentence for a file that could not be read."""
    given, remedy = f"cannot be read ({error.strerror or error})", "correct its name or permissions"
    return fault(path, given, "a file that you may read", remedy)


def make_folder(path: str | Path) -> Path:
    """The folder at `path`, made where it is not there; UserError where nothing can go into it."""
    path = as_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        given = f"cannot be made a folder ({error.strerror})"
        raise fault(path, given, "a new name or a folder", "name another") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be written to; name another folder.")
    return path


def writable(path: str | Path) -> Path:
    """The path, if a file can be written there; UserError where it cannot."""
    path = as_path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        given = "is not there, or cannot be written to"
        raise UserError(f"{path.parent} {given}; make it, or name another folder for {path.name}.")
    return path


SAFETENSORS = "a safetensors file"
KINDS = {  # of a file by its first bytes
    b"PK": "a file of torch.save, such as a checkpoint of segment_anything or a run's state.pt",
    b"\x80": "a pickle, such as an old file of torch.save",
    b"\x89PNG": "a picture",
    b"\xff\xd8": "a picture",
    b"{": "a JSON file",
    b"\x08": "an ONNX graph, for onnxruntime",
    b"<": "a web page, perhaps of a failed download",
    b"version https://git-lfs": "a pointer of Git LFS (git lfs pull fetches the file)",
}


def where_in(path: Path, *patterns: str) -> str:
    """The remedy for a path that is no file: the likely one in it, where it is a folder."""
    near = [file for pattern in patterns for file in sorted(path.glob(pattern))]
    return f"name {near[0]}" if near else "correct the name"


def kind_of(path: Path) -> str:
    """What a file seems to be by its first bytes, for a message on a file that is another's."""
    try:
        with path.open("rb") as file:
            start = file.read(32)
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    if start[8:9] == b"{":
        return SAFETENSORS  # eight bytes of length, then JSON
    if not start:
        return "an empty file"
    return next((what for sign, what in KINDS.items() if start.startswith(sign)), "another file")


def hold(path: Path):
    """A FileLock that is held until `release`, or until this process ends; none where the file
    system knows no locks. UserError where another thread or process holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        remedy = "wait until it ends, or choose another `out`"
        raise fault(path.parent, "is in use by another run", "one run a folder", remedy) from error
    except NotImplementedError:  # a network share without locks
        pass
    except OSError as error:
        raise not_written(path, error) from error
    return lock
