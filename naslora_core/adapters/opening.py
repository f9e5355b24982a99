"""A trained model from its file, whatever it is: an adapter on its base, or a folded model."""

from pathlib import Path

from naslora_core.adapters import checkpoint, folded_file, tensor_file
from naslora_core.sam import Segmenter, load_sam


def open_model(path: str | Path, base: str | Path | None = None) -> Segmenter:
    """The Segmenter that `path` holds, ready to predict.

    base: the checkpoint file of the adapter's base, where that is not sam_nano. Raises UserError
    for a file that is missing, altered, of another format, or of another base.
    """
    if kind(path) == "folded":
        return folded_file.load_folded(path)
    return checkpoint.load_adapter(base_of(path, base), path)


def kind(path: str | Path) -> str:
    """ "adapter" or "folded"."""
    return "adapter" if _facts(path)["format"] == checkpoint.FORMAT else "folded"


def base_of(path: str | Path, base: str | Path | None = None):
    """The SAM that an adapter's file names, from the checkpoint file `base` if it needs one."""
    return load_sam(_facts(path).get("base_name", "unnamed"), base)


def _facts(path: str | Path) -> dict[str, str]:
    return tensor_file.describe(path, checkpoint.FORMAT, folded_file.FORMAT)
