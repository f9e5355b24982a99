"""A folded model, the report on what folded, its file, and the way back."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch

from naslora_core.adapters import tensor_file
from naslora_core.adapters.adaptation import HEADS, head_name
from naslora_core.adapters.folded_linear import FoldedLinear, Row
from naslora_core.errors import UserError
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
    def pointwise(self) -> bool:
        """Whether nothing stayed beside the base's own layers."""
        return not self.beside()

    def beside(self) -> list[Row]:
        """The rows that left something beside the base's own layers."""
        return [row for row in self.rows if row.side_macs]

    def stuck(self) -> list[Row]:
        """The rows that folded nothing: the adapter is there as it was."""
        return [row for row in self.rows if row.side_macs < 0]

    def __str__(self) -> str:
        if not self.rows:
            return "The encoder has no adapter: it is the base's, with what was trained beside it."
        lines = [
            f"{r.block:>5}  {r.linear:<9} {r.folded:<10}  {r.side_macs:>10}  {r.why}"
            for r in self.rows
        ]
        head = "block  linear    folded      MACs/token  what stays, and why"
        return "\n".join([head, *lines])

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
    classes: int = field(default=1)

    @property
    def vanilla(self) -> bool:
        """Whether `segment_anything` can load and run it as it is."""
        return self.report.pointwise and self.model.head is None

    def save(self, path: str | Path) -> Path:
        """`.pth`: official layout, only if vanilla; `.safetensors`: with side branches; `.onnx`:
        the encoder alone (`onnx_file`)."""
        path = Path(path)
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
        self.refuse_stuck()
        if not self.vanilla:
            why = reasons(self.report.beside()) or "several classes, or tokens that choose theirs"
            raise UserError(
                f"A .pth for vanilla segment_anything cannot hold this model: {why}; save it as "
                ".safetensors and load it with load_folded."
            )
        buffer = io.BytesIO()
        torch.save({k: v.cpu() for k, v in self.model.sam.state_dict().items()}, buffer)
        return buffer.getvalue()

    def refuse_stuck(self) -> None:
        """UserError if some block did not fold at all."""
        if self.report.stuck():
            raise UserError(
                f"What did not fold: {reasons(self.report.stuck())}; keep the adapted model with "
                "save_adapter."
            )

    def _facts(self) -> dict[str, str]:
        self.refuse_stuck()
        beside = self.report.beside()
        sides = [[r.block, r.linear, r.kernel_side, r.margins, r.windows] for r in beside]
        name, classes = getattr(self.model.sam, "model_name", None), str(self.classes)
        if name not in BUILDERS:
            raise UserError(
                f"The base has model_name={name!r}, by which a folded file is built again; set "
                f"sam.model_name to one of {', '.join(BUILDERS)}."
            )
        head = head_name(self.model.head) if self.model.head else "none"
        facts = {"format": FORMAT, "base_name": name, "classes": classes, "head": head}
        facts |= self.model.input_facts()
        return facts | {"sides": json.dumps(sides), "rank": str(self.report.rank)}


def load_folded(path: str | Path) -> Segmenter:
    """A folded model in eval mode, without its base, its adapter or the trainer.

    Raises UserError for a file that is missing, truncated, altered or of another format.
    """
    facts, state = tensor_file.read(path, FORMAT)
    if facts["base_name"] not in BUILDERS:
        raise UserError(
            f"{path} holds a folded {facts['base_name']!r}; known are {', '.join(BUILDERS)}."
        )
    sam, rank = BUILDERS[facts["base_name"]](), int(facts["rank"])
    if facts["base_name"] != "sam_nano":  # as `load_sam`
        fuse(sam.image_encoder)
    for number, name, side, margins, windows in json.loads(facts["sides"]):
        place = f"image_encoder.blocks.{number}.{name}"
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
        raise UserError(
            f"{path} holds tensors of another shape than {facts['base_name']} has "
            f"({str(error).splitlines()[-1].strip()[:120]}); save it as .pth or .onnx."
        ) from error
    sam.model_name = facts["base_name"]
    return model.eval().requires_grad_(False)
