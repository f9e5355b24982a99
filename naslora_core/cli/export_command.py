"""From an adapter's file to one that needs no trainer (`python -m naslora_core export`)."""

import argparse
from pathlib import Path

from naslora_core.adapters.checkpoint import base_of, kind, load_adapter
from naslora_core.adapters.folded_checkpoint import load_folded
from naslora_core.adapters.folding import fold
from naslora_core.adapters.onnx_export import difference, export_onnx
from naslora_core.errors import UserError
from naslora_core.files import writable
from naslora_core.sam import Segmenter


def export(arguments: argparse.Namespace) -> None:
    """Write `out` in the format of its ending, and print what was done."""
    out = writable(arguments.out)
    if out.resolve() == Path(arguments.file).resolve():
        raise UserError(f"{out} is the file to export, and would be lost; name another to write.")
    if kind(arguments.file) == "adapter":
        folded = fold(load_adapter(base_of(arguments.file, arguments.checkpoint), arguments.file))
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
    model = load_folded(file)
    export_onnx(model, out)
    return model
