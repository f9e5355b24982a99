"""From an adapter's file to one that needs no trainer (`python -m naslora_core export`)."""

import argparse
from pathlib import Path

from naslora_core.adapters import checkpoint, folded_file, tensor_file
from naslora_core.adapters.fold import fold
from naslora_core.adapters.onnx_file import difference, export_onnx
from naslora_core.errors import UserError
from naslora_core.files import writable
from naslora_core.sam import Segmenter, load_sam

ADAPTER = checkpoint.FORMAT, checkpoint.OLDER
FOLDED = folded_file.FORMAT, folded_file.OLDER


def export(arguments: argparse.Namespace) -> None:
    """Write `out` in the format of its ending, and print what was done."""
    out = writable(arguments.out)
    facts, _ = tensor_file.read(arguments.file, *ADAPTER, *FOLDED)
    if facts["format"] in ADAPTER:
        sam = load_sam(facts.get("base_name", "unnamed"), arguments.checkpoint)
        folded = fold(checkpoint.load_adapter(sam, arguments.file))
        print(folded.report)
        folded.save(out)
        model = folded.model
    else:
        model = _encoder_alone(arguments.file, out)
    print(f"Wrote {out}, {out.stat().st_size / 2**20:.1f} MB.")
    if out.suffix == ".onnx":
        print(f"Largest difference of onnxruntime from PyTorch: {difference(model, out):.1e}.")


def _encoder_alone(file: str, out: Path) -> Segmenter:
    if out.suffix != ".onnx":
        raise UserError(f"{file} is folded already; all that can be made of it is an .onnx file.")
    model = folded_file.load_folded(file)
    export_onnx(model, out)
    return model
