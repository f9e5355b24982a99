"""An official image encoder cut in two: the early part that nothing trains, and the rest.

The early part answers the same for an image in every step of a training, so it need run but once
(`training/feature_cache.py`); for a method that adapts only late blocks, or none.
"""

import hashlib
from collections.abc import Callable, Iterable

from torch import Tensor, nn

from naslora_core.sam.checkpoints import raw

Step = Callable[[Tensor], Tensor]


class Cut:
    """The steps of an encoder (patches, every block, the neck) before and after the first of
    which a tensor of `trained` is a part.

    frozen: how many steps are early; blocks: how many blocks these hold; whole: all of them are,
    so that what is left to do is nothing.
    """

    def __init__(self, encoder: nn.Module, trained: Iterable[Tensor]):
        self.encoder, own = encoder, {id(p) for p in trained}
        parts = self._parts()
        moved = (i for i, part in enumerate(parts) if any(id(p) in own for _, p in part))
        self.frozen = next(moved, len(parts))
        self.blocks = min(max(0, self.frozen - 1), len(encoder.blocks))
        self.whole = self.frozen == len(parts)

    def early(self, x: Tensor) -> Tensor:
        """`B 3 S S` normalised to what enters the first trained step: tokens `B h w d`, or the
        embedding `B C h w` where the whole encoder is early."""
        return _through(self._steps()[: self.frozen], x)

    def late(self, features: Tensor) -> Tensor:
        """What `early` gave, to the embedding `B C h w`."""
        return _through(self._steps()[self.frozen :], features)

    def key(self) -> str:
        """sha256 over the early part: names, values and kinds of its modules."""
        digest = hashlib.sha256(f"{self.frozen}".encode())
        for part, step in zip(self._parts()[: self.frozen], self._steps(), strict=False):
            kinds = [type(m).__name__ for m in step.modules()] if hasattr(step, "modules") else []
            digest.update(repr(kinds).encode())  # fused attention rounds otherwise
            for name, tensor in part:
                digest.update(name.encode())
                digest.update(raw(tensor))
        return digest.hexdigest()

    def _steps(self) -> list[Step]:
        return [self._patches, *self.encoder.blocks, self._neck]

    def _parts(self) -> list[list[tuple[str, Tensor]]]:
        """The tensors of every step, by name."""
        e = self.encoder
        patches = [*e.patch_embed.state_dict(keep_vars=True).items()]
        patches += [("pos_embed", e.pos_embed)] if e.pos_embed is not None else []
        rest = [[*part.state_dict(keep_vars=True).items()] for part in (*e.blocks, e.neck)]
        return [patches, *rest]

    def _patches(self, x: Tensor) -> Tensor:
        tokens, place = self.encoder.patch_embed(x), self.encoder.pos_embed
        return tokens if place is None else tokens + place

    def _neck(self, x: Tensor) -> Tensor:
        return self.encoder.neck(x.permute(0, 3, 1, 2))


def _through(steps: list[Step], x: Tensor) -> Tensor:
    for step in steps:
        x = step(x)
    return x
