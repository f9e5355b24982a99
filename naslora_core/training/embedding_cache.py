"""A folder of image embeddings, for methods that leave the whole image encoder frozen."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from naslora_core.adapters import tensor_file
from naslora_core.errors import UserError, fault
from naslora_core.files import make_folder
from naslora_core.sam import model_hash

FORMAT = "naslora-embedding-1"


def check_cacheable(model: nn.Module, augment: str) -> None:
    """UserError where the encoder is trained, or where no image has the same pixels again."""
    encoder = getattr(getattr(model, "sam", None), "image_encoder", None)
    if encoder is None or any(p.requires_grad for p in encoder.parameters()):
        name, remedy = type(getattr(model, "method", model)).__name__, "leave the cache out"
        raise fault(name, "trains in the image encoder", "a frozen one, as DecoderOnly's", remedy)
    if augment != "flips":
        given = "draws other pixels every time"
        raise fault(f"augment={augment!r}", given, "'flips'", "take that, or leave the cache out")


@contextmanager
def cached_embeddings(model: nn.Module, folder: str | Path | None) -> Iterator[None]:
    """Inside, the model's encoder asks the folder first, image by image; None: nothing."""
    if folder is None:
        yield
        return
    folder, encoder = make_folder(folder), model.sam.image_encoder
    forward, weights = encoder.forward, model_hash(encoder)

    def embed(image: Tensor) -> Tensor:
        kind = image.device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        facts = repr((weights, kind, autocast, tuple(image.shape), torch.__version__)).encode()
        name = hashlib.sha256(facts + image.cpu().numpy().tobytes()).hexdigest()
        try:
            found = tensor_file.read(folder / name, FORMAT)[1]["embedding"]
        except UserError:  # not there, or damaged
            with torch.no_grad():
                found = forward(image[None])[0]
            tensor_file.write(folder / name, {"embedding": found}, {"format": FORMAT})
        return found.to(image.device)

    encoder.forward = lambda images: torch.stack([embed(image) for image in images.detach()])
    try:
        yield
    finally:
        del encoder.forward
