"""The image encoder of a folded model as an ONNX file, side branches included.

Only the encoder: segment_anything exports its decoder itself. Written by torch.onnx's exporter of
`torch.export` (dynamo=True); the older one would freeze the windows of the batch that it saw.
"""

import importlib
import os
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from naslora_core.adapters.adaptation import Adapted
from naslora_core.adapters.folding import Folded
from naslora_core.errors import UserError
from naslora_core.files import writable
from naslora_core.sam import Segmenter

INPUT, OUTPUT = "normalised", "embedding"
LIMIT = 2 * 10**9  # bytes: protobuf, and so one ONNX file, ends at 2 GiB
REMEDY = 'pip install "naslora-core[export]"'


def export_onnx(folded: Folded | Segmenter, path: str | Path) -> Path:
    """Write the encoder of a folded (or loaded folded) model: `Segmenter.encode` for any batch.

    Input "normalised" `B 3 S S` (RGB as `Segmenter.preprocess` makes it), output "embedding"
    `B C h w`. An encoder beyond 2 GB (ViT-H) leaves its weights beside the file, in `NAME.data`.
    Raises UserError where something did not fold, and without onnxscript.
    """
    path, encoder = writable(path), _encoder(folded)
    large = sum(t.nbytes for t in encoder.state_dict().values()) > LIMIT
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as aside:
        _program(encoder).save(Path(aside) / path.name, external_data=large)
        path.unlink(missing_ok=True)  # never an old graph with new weights
        for part in sorted(Path(aside).iterdir(), reverse=True):  # NAME.data, then NAME
            os.replace(part, path.parent / part.name)
    return path


def _encoder(folded: Folded | Segmenter) -> nn.Module:
    if isinstance(folded, Adapted):
        raise UserError("This model is not folded; export fold(model) instead.")
    if isinstance(folded, Folded):
        folded.refuse_stuck()
        folded = folded.model
    return folded.sam.image_encoder.eval()


def _program(encoder: nn.Module):
    """The traced encoder, its batch left open."""
    _needed("onnxscript")
    like = next(encoder.parameters())
    example = like.new_zeros(2, 3, encoder.img_size, encoder.img_size)  # 1 would be taken as fixed
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # PyTorch's own, about its own modules
        return torch.onnx.export(
            encoder,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )


def difference(folded: Folded | Segmenter, path: str | Path) -> float:
    """The largest difference between PyTorch's embedding of a random image and onnxruntime's."""
    encoder = _encoder(folded)
    x = torch.randn(1, 3, encoder.img_size, encoder.img_size)
    with torch.no_grad():
        wanted = encoder(x.to(next(encoder.parameters()).device)).cpu()
    return float((run_onnx(path, x) - wanted).abs().max())


def run_onnx(path: str | Path, normalised: Tensor) -> Tensor:
    """The embedding `B C h w` that onnxruntime computes on the CPU from an exported file."""
    session = _needed("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([OUTPUT], {INPUT: normalised.cpu().numpy()})[0])


def _needed(name: str):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"ONNX files need {error.name}, which is not here; {REMEDY}.") from error
