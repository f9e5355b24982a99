"""A folder of tensors that never grows beyond its bytes: the longest unused is thrown away."""

import os
import zlib
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from naslora_core.files import make_folder, write_atomic

ENDING = ".tensor"
SWEPT = 0.9  # of the room is left when something has to go, so that sweeps are rare


class BoundedFolder:
    """Tensors by name, each a file with its checksum; a damaged one is as good as absent.

    Written aside and renamed, so a process killed in the middle, or another at work in the same
    folder, leaves no half file. What has no room at all is not kept.
    """

    def __init__(self, path: str | Path, room: float, processes: int = 1):
        """room: bytes; processes: how many fill it at once, each its share of what is left."""
        self.path, self.room, self.processes = Path(path), room, processes
        make_folder(path)
        self._left = (room - sum(size for _, size, _ in self._files())) / processes

    def get(self, name: str) -> Tensor | None:
        """The tensor, now the one used last; None where it is absent or damaged."""
        file = self.path / f"{name}{ENDING}"
        try:
            content = file.read_bytes()
            os.utime(file)
        except FileNotFoundError:
            return None
        if int.from_bytes(content[:4], "big") != zlib.crc32(content[4:]) or len(content) < 5:
            file.unlink(missing_ok=True)
            return None
        kept = load(content[4:])
        return kept["values"].permute(kept["axes"].argsort().tolist())

    def put(self, name: str, tensor: Tensor) -> None:
        """Keep a tensor in its order in memory; first throw away what has to make room."""
        axes = in_memory(tensor)
        values = tensor.permute(axes).contiguous()
        content = save({"values": values, "axes": torch.tensor(axes)})
        content = zlib.crc32(content).to_bytes(4, "big") + content
        if len(content) > self.room:
            return
        self._left -= len(content)
        if self._left < 0:
            self._sweep(len(content))
        write_atomic(self.path / f"{name}{ENDING}", content)

    def _sweep(self, wanted: int) -> None:
        """Remove the longest unused until `wanted` bytes fit, and a tenth of the room besides."""
        files = sorted(self._files())
        total = wanted + sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= max(SWEPT * self.room, wanted):
                break
            path.unlink(missing_ok=True)
            total -= size
        self._left = (self.room - total) / self.processes

    def _files(self) -> list[tuple[int, int, Path]]:
        """When each was used last, its bytes, its path."""
        found = []
        for entry in os.scandir(self.path):
            try:
                facts = entry.stat()
            except FileNotFoundError:  # another process swept it
                continue
            if entry.name.endswith(ENDING):
                found.append((facts.st_mtime_ns, facts.st_size, Path(entry.path)))
        return found


def in_memory(tensor: Tensor) -> list[int]:
    """The axes from the one of the widest stride to the one of the narrowest.

    Kernels round by how a tensor lies in memory: in another order the last bits are others.
    """
    return sorted(range(tensor.ndim), key=lambda axis: -tensor.stride(axis))


def stack(tensors: list[Tensor]) -> Tensor:
    """Tensors of one shape and one order in memory, stacked in that order."""
    axes = in_memory(tensors[0])
    back = [1 + axes.index(axis) for axis in range(len(axes))]
    return torch.stack([t.permute(axes) for t in tensors]).permute(0, *back)
