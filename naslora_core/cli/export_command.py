"""From an adapter's file to one that needs no trainer (`naslora export`)."""

import argparse
from pathlib import Path

from naslora_core.adapters.checkpoint import base_of, kind, load_adapter
from naslora_core.adapters.folding import fold, load_folded
from naslora_core.adapters.onnx_export import difference, export_onnx
from naslora_core.errors import UserError, fault
from naslora_core.files import writable
from naslora_core.sam import Segmenter

ENDINGS = (".pth", ".safetensors", ".onnx")


def export(arguments: argparse.Namespace) -> None:
    """Write `out` in the format of its ending, and print what was done."""
    out = _free(Path(arguments.out), Path(arguments.file))
    if kind(arguments.file) == "adapter":
        folded = fold(load_adapter(base_of(arguments.file, arguments.checkpoint), arguments.file))
        print(folded.report)
        folded.save(out)
        model = folded.model
    elif out.suffix == ".onnx":
        model = load_folded(arguments.file)
        export_onnx(model, out)
    else:
        given, remedy = "is folded already", "name an .onnx file to write"
        raise fault(arguments.file, given, "an adapter, for that ending", remedy)
    print(f"Wrote {out}, {out.stat().st_size / 2**20:.1f} MB.")
    if out.suffix == ".onnx":
        print(f"Largest difference of onnxruntime from PyTorch: {difference(model, out):.1e}.")
    print(_how_to_feed(model, out), end="")


def _free(out: Path, file: Path) -> Path:
    """The place to write, if nothing is lost there; UserError where something would be."""
    if out.suffix not in ENDINGS:
        raise UserError(f"{out.name} has no known ending; use {', '.join(ENDINGS)}.")
    if out.resolve() == file.resolve():
        raise UserError(f"{out} is the file to export, and would be lost; name another to write.")
    if out.exists() and not out.is_dir() and not _ours(out):
        given, expected = "is there already", "a new name, or a folded model of ours"
        raise fault(out, given, expected, "name another file, or remove that one")
    return writable(out)


def _ours(path: Path) -> bool:
    try:
        return kind(path) == "folded"
    except UserError:
        return False


def _how_to_feed(model: Segmenter, out: Path) -> str:
    """What a program must do to an image before this file's encoder sees it."""
    side = model.image_size
    if model.tile:
        return f"Trained on pieces of {model.tile} pixels: cut images so, then resize to {side}.\n"
    if out.suffix == ".safetensors" or model.resize == "pad":
        return ""
    pads = "SamPredictor" if out.suffix == ".pth" else "segment_anything"
    return (
        f"Trained on images squeezed to {side} x {side}; {pads} keeps their shape and pads them, "
        "so masks of images that are not square differ. Squeeze them to a square first, or train "
        "with --resize pad.\n"
    )
