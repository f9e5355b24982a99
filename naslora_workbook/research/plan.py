"""Will it fit, and how long will a step take: before anything is loaded or downloaded.

    python -m naslora_core plan vit_b --method nas_lora --card 16

Memory follows from shapes (`footprint`), time besides from a short calibration on this machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import torch

from naslora_core.adapters import adapt
from naslora_core.adapters.method import Blocks, Method
from naslora_core.errors import UserError
from naslora_workbook.research.calibration import Calibration, tail_footprint
from naslora_workbook.research.footprint import Footprint, footprint
from naslora_workbook.research.planned_step import hollow_sam, training_loss

Rates = Callable[[str], Calibration]
ROOM = 0.9  # share of a card that a plan fills: its driver and fragments take the rest


@dataclass(frozen=True)
class Plan:
    """One setting and what it needs: `peak` bytes at the worst moment, `seconds` a step (None
    without a calibration). batch: images held at once; accumulate: parts of a step of such."""

    model: str
    method: Method
    batch: int
    precision: str
    checkpointing: bool
    need: Footprint
    seconds: float | None = None
    accumulate: int = 1

    @property
    def peak(self) -> int:
        """Bytes at the worst moment."""
        return self.need.peak

    def __str__(self) -> str:
        parts = f" x {self.accumulate}" if self.accumulate > 1 else ""
        sparing = ", checkpointing" if self.checkpointing else ""
        blocks = getattr(self.method, "blocks", None)
        where = f", blocks={blocks!r}" if blocks not in (None, "all") else ""
        time = "" if self.seconds is None else f", {self.seconds * self.accumulate:.2f} s a step"
        return (
            f"batch {self.batch}{parts}, {self.precision}{sparing}{where}: "
            f"{self.peak / 1e9:.2f} GB{time}"
        )


def plan(
    model: str,
    method: Method,
    batch: int = 8,
    precision: str = "fp32",
    checkpointing: bool = False,
    blocks: Blocks | None = None,
    calibration: Calibration | None = None,
) -> Plan:
    """What a training step of `fit` needs, decoder, loss and AdamW's states included.

    model: a name for load_sam; blocks: instead of the method's own; calibration: from
    `calibration.calibrate`, for the time. The kernels are those of the CPU, or of CUDA where it is
    there. Raises UserError for unknown names and for methods whose shapes depend on the images.
    """
    if blocks is not None:
        method = placed(method, blocks)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    adapted = adapt(hollow_sam(model), method).train()
    need = footprint(
        adapted, lambda m: training_loss(m, batch, precision, checkpointing, device), device
    )
    end = tail_footprint(model, batch, precision, device) if calibration else None
    time = calibration.seconds(need, end) if calibration else None
    return Plan(model, method, batch, precision, checkpointing, need, time)


def placed(method: Method, blocks: Blocks) -> Method:
    """The method in other blocks; UserError where it has none to choose."""
    if "blocks" not in {f.name for f in fields(method)}:
        raise UserError(f"{type(method).__name__} chooses no blocks; leave `blocks` out.")
    return replace(method, blocks=blocks)


def propose(asked: Plan, card: float, rates: Rates | None = None) -> Plan:
    """The first setting of `knobs` of which a step's images, held one after another if need be,
    fit into `card` gigabytes; UserError with the least of them where none fits.

    rates: a precision's calibration, for the time of what is proposed.
    """
    least = None
    for method, precision, checkpointing in knobs(asked):
        how, calibration = (asked.batch, precision, checkpointing), rates and rates(precision)
        found = asked
        if (method, *how) != _how(asked):
            found = plan(asked.model, method, *how, calibration=calibration)
        found = _held(found, card * 1e9 * ROOM, calibration)
        if found.peak <= card * 1e9 * ROOM:
            return found
        least = min(filter(None, (least, found)), key=lambda p: p.peak)
    raise UserError(
        f"Nothing fits into {card:g} GB: the least is {least}; take a larger card or a smaller "
        "model."
    )


def knobs(asked: Plan) -> Iterator[tuple[Method, str, bool]]:
    """Method, precision and checkpointing from what was asked to what takes least, what changes
    the result last."""
    halved = "bf16" if asked.precision == "fp32" else asked.precision
    ways = [(asked.precision, asked.checkpointing), (asked.precision, True)]
    ways += [(halved, asked.checkpointing), (halved, True)]
    yield from ((asked.method, *way) for way in dict.fromkeys(ways))
    if getattr(asked.method, "blocks", None) == "all":
        yield placed(asked.method, "late-4"), halved, asked.checkpointing
        yield placed(asked.method, "late-4"), halved, True


def _how(p: Plan) -> tuple:
    return p.method, p.batch, p.precision, p.checkpointing


def _held(found: Plan, room: float, calibration: Calibration | None) -> Plan:
    """The plan with as many of its images held at once as there is room for, at least one."""
    while found.peak > room and found.batch > 1:
        whole = found.batch * found.accumulate
        fewer = max(n for n in range(1, found.batch) if whole % n == 0)
        smaller = plan(found.model, found.method, fewer, found.precision, found.checkpointing,
                       calibration=calibration)  # fmt: skip
        found = replace(smaller, accumulate=whole // fewer)
    return found
