"""A folder of tensors that never grows beyond its bytes: the longest unused is thrown away.

What the frozen early part of an encoder answers, kept on disk by image: computed once.

    python -m naslora_core fit my_images --set blocks='late-4' --cache build/features

For methods that adapt late blocks only, or nothing in the encoder. A run with it ends as one
without: the answer is kept in the type it was computed in. `half` keeps float16, which is half as
large and rounds. An image is its pixels, so each of its flipped views is one of its own.
"""

import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from naslora_core.errors import UserError
from naslora_core.files import make_folder, write_atomic
from naslora_workbook.research.early import Cut

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


@dataclass(frozen=True)
class FeatureCache:
    """folder; gigabytes it may hold, the longest unused thrown away; half: keep float16.

    One image of ViT-B at 1024 takes 12.6 MB before the neck, 6.3 MB in half; after it, where the
    whole encoder is frozen, a third of that.
    """

    folder: str | Path
    gigabytes: float = 10.0
    half: bool = False

    def __post_init__(self):
        if not self.gigabytes > 0:
            raise UserError(
                f"A cache of {self.gigabytes} GB keeps nothing; give more, or leave the cache out."
            )


def named_cache(cache: "str | Path | FeatureCache | None", augment: str) -> FeatureCache | None:
    """A folder as a FeatureCache; UserError where an image never has the same pixels again."""
    if cache is None:
        return None
    if augment != "flips":
        raise UserError(
            f"A cache needs the same pixels again and augment={augment!r} draws others every time; "
            "take augment='flips' (four views an image), or leave the cache out."
        )
    return cache if isinstance(cache, FeatureCache) else FeatureCache(cache)


def cut_of(model: nn.Module) -> Cut:
    """The early part of an adapted model; UserError where there is none to keep."""
    encoder = getattr(getattr(model, "sam", None), "image_encoder", None)
    if type(encoder) is not ImageEncoderViT:
        raise UserError(
            f"{_method(model)} has no official encoder with frozen blocks before the trained ones; "
            "leave the cache out."
        )
    cut = Cut(encoder, model.trainable().values())
    if not cut.blocks:
        raise UserError(
            f"{_method(model)} trains the first block already, so that no block before it could be "
            "kept; adapt late blocks alone (blocks='late-4'), or leave the cache out."
        )
    return cut


def _method(model: nn.Module) -> str:
    return type(getattr(model, "method", model)).__name__


@contextmanager
def cached(model: nn.Module, cache: FeatureCache | None, processes: int = 1) -> Iterator[None]:
    """Inside, the model's encoder asks `cache` for its early part; None leaves it as it is.

    processes: how many fill the folder at once, each its share of the room.
    """
    if cache is None:
        yield
        return
    encoder = model.sam.image_encoder
    encoder.forward = Recalled(cut_of(model), cache, processes)
    try:
        yield
    finally:
        del encoder.forward


class Recalled:
    """An encoder's forward, `B 3 S S` normalised to `B C h w`, that remembers its early part.

    It is computed one image at a time, so that what is kept hangs on that image alone.
    """

    def __init__(self, cut: Cut, cache: FeatureCache, processes: int = 1):
        self.cut, self.half, self.weights = cut, cache.half, cut.key()
        self.files = BoundedFolder(cache.folder, cache.gigabytes * 1e9, processes)

    def __call__(self, x: Tensor) -> Tensor:
        circumstances = self._circumstances(x)
        names = (_hash(circumstances, image) for image in x.detach().cpu().numpy())
        kept = [self._one(n, image) for n, image in zip(names, x, strict=True)]
        return self.cut.late(stack(kept))

    def _one(self, name: str, image: Tensor) -> Tensor:
        """The early part's answer to one normalised image `3 S S`."""
        found = self.files.get(name)
        if found is None:
            with torch.no_grad():
                found = self.cut.early(image[None])[0].cpu()
            found = _halved(found) if self.half else found
            self.files.put(name, found)
        return found.to(image.device, image.dtype if self.half else found.dtype)

    def _circumstances(self, x: Tensor) -> bytes:
        """Whatever else than the pixels decides the answer's bits."""
        kind, autocast = x.device.type, None
        if torch.is_autocast_enabled(kind):
            autocast = str(torch.get_autocast_dtype(kind))
        facts = self.weights, kind, str(x.dtype), autocast, self.half, torch.__version__
        return repr(facts).encode()


def _hash(circumstances: bytes, pixels) -> str:
    digest = hashlib.sha256(circumstances)
    digest.update(repr(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _halved(features: Tensor) -> Tensor:
    half = features.half()
    if not half.isfinite().all():
        raise UserError(
            f"The features reach {features.abs().max():.3g}, float16 ends at 65504; leave `half` "
            "out."
        )
    return half
