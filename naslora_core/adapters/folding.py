"""Fold an adapter into its base, exactly, as far as algebra allows; the folded model and its file.

y = W0 x + s Wd (K * We x).  The centre tap acts token by token, so  W0 += s Wd K[c, c] We . What is
left of K stays a small side branch; where nothing is left the Linear is plain again.

Every layer folds itself: `layer.fold(block, name)` returns what takes its place and rows of the
report. One that cannot says so in `why_unfoldable`.
"""

import copy
import io
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from naslora_core.adapters import tensor_file
from naslora_core.adapters.adaptation import HEADS, Adapted, adapted, head_name
from naslora_core.adapters.lora import FoldedLinear, Row
from naslora_core.errors import UserError, fault, known
from naslora_core.files import write_atomic
from naslora_core.sam import Segmenter, fuse
from naslora_core.sam.checkpoints import BUILDERS

FORMAT = "naslora-folded-3"


def reasons(rows: list[Row]) -> str:
    """Which blocks, and why: "block 0, 1 mlp.lin1 (a 3 x 3 field ...); block 2 (...)"."""
    places: dict[str, dict[str, None]] = {}
    for row in rows:
        linear = "" if row.linear in ("attn.qkv", "block") else f" {row.linear}"
        places.setdefault(row.why, {})[f"{row.block}{linear}"] = None
    return "; ".join(f"block {', '.join(where)} ({why})" for why, where in places.items())


@dataclass(frozen=True)
class Report:
    """One row an adapted Linear; reads as a table."""

    rows: tuple[Row, ...]
    rank: int

    @property
    def beside(self) -> list[Row]:
        """The rows that left something beside the base's own layers."""
        return [row for row in self.rows if row.side_macs]

    def __str__(self) -> str:
        if not self.rows:
            return "The encoder has no adapter: it is the base's, with what was trained beside it."
        lines = ["block  linear    folded      MACs/token  what stays, and why"]
        for r in self.rows:
            lines += [f"{r.block:>5}  {r.linear:<9} {r.folded:<10}  {r.side_macs:>10}  {r.why}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        names = "block", "linear", "folded into W0", "MACs a token left", "why"
        head = "".join(f"<th>{n}</th>" for n in names)
        rows = ((r.block, r.linear, r.folded, r.side_macs, r.why) for r in self.rows)
        body = ("".join(f"<td>{value}</td>" for value in row) for row in rows)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{b}</tr>' for b in body)}</table>"


@dataclass(frozen=True)
class Folded:
    """The folded model (a Segmenter) and the report of what folded and what it costs.

    The IoU head was never trained, so the IoU that the model predicts is stale, and so are the
    masks 1 to 3 of a multimask answer: the decoder they share was trained for mask 0. Both are what
    `SamAutomaticMaskGenerator(folded.model.sam)` goes by (of one class, whatever stayed beside);
    lower its pred_iou_thresh.
    """

    model: Segmenter
    report: Report

    @property
    def vanilla(self) -> bool:
        """Whether `segment_anything` can load and run it as it is."""
        return not self.report.beside and self.model.head is None

    def save(self, path: str | Path) -> Path:
        """`.pth`: official layout, only if vanilla; `.safetensors`: with side branches; `.onnx`:
        the encoder alone (`onnx_export`)."""
        path = Path(path)
        self.refuse_stuck()
        if path.suffix == ".pth":
            write_atomic(path, self._official())
        elif path.suffix == ".safetensors":
            tensor_file.write(path, self.model.state_dict(), self._facts())
        elif path.suffix == ".onnx":
            from naslora_core.adapters.onnx_export import export_onnx  # it imports this file

            export_onnx(self, path)
        else:
            raise UserError(f"{path.name} has no known ending; use .pth, .safetensors or .onnx.")
        return path

    def _official(self) -> bytes:
        if not self.vanilla:
            why = reasons(self.report.beside) or "several classes, or tokens that choose theirs"
            given = f"A .pth for vanilla segment_anything cannot hold this model: {why}"
            raise UserError(f"{given}; save it as .safetensors and load it with load_folded.")
        buffer = io.BytesIO()
        torch.save({k: v.cpu() for k, v in self.model.sam.state_dict().items()}, buffer)
        return buffer.getvalue()

    def refuse_stuck(self) -> None:
        """UserError if some block did not fold at all: its adapter is there as it was."""
        if stuck := [row for row in self.report.rows if row.side_macs < 0]:
            remedy = "keep the adapted model with save_adapter"
            raise UserError(f"What did not fold: {reasons(stuck)}; {remedy}.")

    def _facts(self) -> dict[str, str]:
        rows = self.report.beside
        sides = [[r.block, r.linear, r.kernel_side, r.margins, r.windows] for r in rows]
        name, head = getattr(self.model.sam, "model_name", None), self.model.head
        if name not in BUILDERS:
            given, expected = f"has model_name={name!r}", f"one of {', '.join(BUILDERS)}"
            raise fault("The base", given, expected, "set sam.model_name")
        return {
            "format": FORMAT,
            "base_name": name,
            "classes": str(head.classes if head else 1),
            "head": head_name(head) if head else "none",
            **self.model.input_facts(),
            "sides": json.dumps(sides),
            "rank": str(self.report.rank),
        }


@torch.no_grad()
def fold(model: Adapted) -> Folded:
    """Fold the model as it stands (nothing is discretised); equal to it in eval mode.

    The adapted model is left as it is. Raises UserError for what is no adapted model.
    """
    sam = copy.deepcopy(adapted(model, "fold").sam)
    rows = fold_blocks(sam.image_encoder)
    vanilla_head = model.classes == 1 and head_name(model.head) == "plain"
    head = None if vanilla_head else copy.deepcopy(model.head)
    if head is None:
        model.head.write_back(sam.mask_decoder)
    plain = Segmenter(sam, head).eval().requires_grad_(False)
    plain.take_input_facts(model.input_facts())
    return Folded(plain, Report(tuple(rows), getattr(model.method, "rank", 0)))


def fold_blocks(encoder: nn.Module) -> list[Row]:
    """Fold every layer of an encoder in place; a row for each adapter that was there."""
    if why := getattr(encoder, "why_unfoldable", ""):
        return [Row(i, "nothing", 0, -1, why, "block") for i, _ in enumerate(encoder.blocks)]
    return [row for i, block in enumerate(encoder.blocks) for row in _fold_parts(i, block, "")]


def _fold_parts(i: int, module: nn.Module, path: str) -> list[Row]:
    rows = []
    for name, part in list(module.named_children()):
        if hasattr(part, "fold"):
            folded, more = part.fold(i, path + name)
            setattr(module, name, folded)
            rows += more
        elif why := getattr(part, "why_unfoldable", ""):
            rows.append(Row(i, "nothing", 0, -1, why, "block"))
        else:
            rows += _fold_parts(i, part, f"{path}{name}.")
    return rows


def load_folded(path: str | Path) -> Segmenter:
    """A folded model in eval mode, without its base, its adapter or the trainer.

    Raises UserError for a file that is missing, truncated, altered or of another format.
    """
    facts, state = tensor_file.read(path, FORMAT)
    name, rank = known(facts["base_name"], BUILDERS, f"{path} holds a folded"), int(facts["rank"])
    sam = BUILDERS[name]()
    if name != "sam_nano":  # as `load_sam`
        fuse(sam.image_encoder)
    for number, path_in_block, side, margins, windows in json.loads(facts["sides"]):
        place = f"image_encoder.blocks.{number}.{path_in_block}"
        linear = sam.get_submodule(place)
        wide, out = linear.in_features, linear.out_features - sum(margins)
        parts = torch.empty(rank, wide), torch.empty(rank, rank, side, side), torch.empty(out, rank)
        sam.set_submodule(place, FoldedLinear(linear, *parts, margins, windows))
    head = HEADS.get(facts["head"])
    model = Segmenter(sam, head and head(sam.mask_decoder, int(facts["classes"])))
    model.take_input_facts(facts)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        given = f"holds tensors of another shape ({str(error).splitlines()[-1].strip()[:120]})"
        raise fault(path, given, f"those of {name}", "save it as .pth or .onnx") from error
    sam.model_name = name
    return model.eval().requires_grad_(False)
