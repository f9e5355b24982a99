"""Batches of a training run, prepared by worker processes while the model computes.

What a step sees is a function of (seed, step, sample), so any number of workers, and a run that is
killed and resumed, gives the same batches bit for bit.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from naslora_core.cpu_quota import allowed_cpus
from naslora_core.data.transforms import to_batch
from naslora_core.errors import UserError

MOST_WORKERS = 8  # by default
Batch = tuple[Tensor, Tensor]


def default_workers(device: torch.device) -> int:
    """On a GPU a worker for each CPU but one, at most 8; on a CPU none, for the model needs it."""
    return 0 if device.type == "cpu" else min(MOST_WORKERS, allowed_cpus() - 1)


@dataclass(frozen=True)
class StepBatches(Dataset):
    """By (step, half) the batch of this process: images `b 3 S S` float32, masks `b S S` uint8.

    augment, resize, tile: as for `to_batch`. part: (rank, number of processes); each takes its
    share of the step's `batch` images.
    """

    samples: Sequence
    size: int
    batch: int
    seed: int
    augment: str = "flips"
    resize: str = "square"
    tile: tuple[int, float] | None = None
    part: tuple[int, int] = (0, 1)

    def __getitem__(self, step_and_half: tuple[int, str | None]) -> Batch | Exception:
        """The batch, or what went wrong: an error in a worker would come back with a traceback."""
        step, half = step_and_half
        try:
            indices = batch_indices(len(self.samples), half, step, self.batch, self.seed)
            own = indices[self.part[0] :: self.part[1]]
            keys = [(self.seed, step, i) for i in own]
            images = [self.samples[i] for i in own]
            return to_batch(images, self.size, keys, self.augment, self.resize, self.tile)
        except Exception as error:
            return error

    def load(
        self, steps: Sequence[tuple[int, str | None]], workers: int, pin: bool = False
    ) -> Iterator[Batch]:
        """The batches of these steps, in order, prepared by `workers` processes (0, or where none
        can be forked: by this one).

        pin: in memory that a GPU copies from while it computes. Raises what a worker met, and
        UserError where one was killed.
        """
        can_fork = "fork" in multiprocessing.get_all_start_methods()
        workers = min(workers, len(steps)) if can_fork else 0
        loader = DataLoader(
            self, batch_size=None, sampler=steps, num_workers=workers, pin_memory=pin,
            collate_fn=lambda batch: batch, generator=torch.Generator(),  # not the global one
            multiprocessing_context="fork" if workers else None,
        )  # fmt: skip
        try:
            for batch in loader:
                if isinstance(batch, Exception):
                    raise batch
                yield batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                f"A process that prepares images ended ({error}), mostly for lack of memory or of "
                f"/dev/shm; take fewer than {workers} workers, or 0 for none."
            ) from error


def batch_indices(count: int, half: str | None, step: int, batch: int, seed: int) -> list[int]:
    """Images of a step: the next `batch` of an endless row of shuffles keyed by (seed, epoch).

    half "A" or "B" keeps to one fixed half of the images (weights on A, alpha on B, in turn, so a
    half moves on at every second step); a single image is both halves.
    """
    pool = np.random.default_rng([seed, 1]).permutation(count)
    if half and count > 1:
        pool = pool[: (count + 1) // 2] if half == "A" else pool[(count + 1) // 2 :]
    turn, found = step // 2 if half else step, []
    for position in range(turn * batch, (turn + 1) * batch):
        epoch, place = divmod(position, len(pool))
        shuffle = np.random.default_rng([seed, 2, epoch]).permutation(len(pool))
        found.append(int(pool[shuffle[place]]))
    return found
