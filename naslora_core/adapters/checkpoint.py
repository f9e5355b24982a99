"""Tensors and their description in one safetensors file that notices any change to either.

One file per adapter: what was trained, what it was trained on, and for which base.

A trained model from its file, whatever it is: an adapter on its base, or a folded model.
"""

import dataclasses
import json
from pathlib import Path

from torch import nn

import naslora_core
from naslora_core.adapters import folded_checkpoint, tensor_file
from naslora_core.adapters.adaptation import CLASSES, Adapted, adapt, adapted, head_name
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter, load_sam, model_hash
from naslora_core.search.operators import operator_names, set_hash

FORMAT = "naslora-adapter-3"
NEEDED = ("method", "settings", "base_name", "base_hash", "classes", "head", "seed", "version")


def save_adapter(model: Adapted, path: str | Path) -> Path:
    """Write We, Wd, operators, alpha and the trained decoder, with metadata, as safetensors."""
    return tensor_file.write(path, adapted(model, "save").adapter_state_dict(), metadata(model))


def metadata(model: Adapted) -> dict[str, str]:
    """Everything that loading needs and checks, as strings."""
    facts = {
        "format": FORMAT,
        "method": type(model.method).__name__,
        "settings": json.dumps(dataclasses.asdict(model.method)),
        "base_name": model.base_name,
        "base_hash": model.base_hash,
        "classes": str(model.classes),
        "head": head_name(model.head),
        "image_size": str(model.image_size),
        **model.input_facts(),
        "seed": str(model.seed),
        "version": naslora_core.__version__,
    }
    if hasattr(model.method, "operators"):
        facts["operator_hash"] = set_hash(operator_names(model.method.operators))
    return facts


def load_adapter(sam: nn.Module, path: str | Path) -> Adapted:
    """The model that `save_adapter` wrote, on its own base.

    Raises UserError for a file that is missing, truncated or altered, for another base (both
    hashes named), another operator set, and for missing or unknown tensors (named).
    """
    facts, tensors = tensor_file.read(path, FORMAT)
    absent = [k for k in NEEDED if k not in facts]
    if absent:
        raise UserError(f"{path} does not say its {', '.join(absent)}; save the adapter anew.")
    here = model_hash(sam)
    if facts["base_hash"] != here:
        raise UserError(
            f"{Path(path).name} was trained on {facts['base_name']} {facts['base_hash'][:12]}, "
            f"this base is {getattr(sam, 'model_name', 'unnamed')} {here[:12]}; load that "
            "base, by its file where it is not the usual one: load_sam(NAME, FILE), --checkpoint "
            "FILE."
        )
    shape = int(facts["classes"]), int(facts["seed"]), facts["head"]
    model = adapt(sam, _method(facts, path), *shape).take_input_facts(facts)
    _fill(model.adapter_state_dict(), tensors, Path(path).name)
    return model


def _method(facts: dict, path):
    if facts["method"] not in CLASSES:
        known = ", ".join(CLASSES)
        raise UserError(f"{path} holds the method {facts['method']!r}; this version has {known}.")
    try:
        settings = json.loads(facts["settings"])
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        method = CLASSES[facts["method"]](**settings)
    except (TypeError, AttributeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path} has settings {facts['settings']!r} that {facts['method']} of this version "
            f"does not take ({error}); load it with version {facts['version']}."
        ) from error
    if "operator_hash" in facts:
        here = set_hash(operator_names(method.operators))
        if here != facts["operator_hash"]:
            raise UserError(
                f"{path} was searched over operator set {facts['operator_hash']}, the set "
                f"{method.operators!r} is now {here}; register the operators it was saved with."
            )
    return method


def _fill(wanted: dict, tensors: dict, name: str) -> None:
    missing, unknown = sorted(wanted.keys() - tensors), sorted(tensors.keys() - wanted)
    wrong = [n for n in wanted if n in tensors and wanted[n].shape != tensors[n].shape]
    if missing or unknown or wrong:
        raise UserError(
            f"{name} does not fit its own description: missing {missing[:3]}, unknown "
            f"{unknown[:3]}, of another shape {wrong[:3]}; save the adapter anew."
        )
    for key, tensor in wanted.items():
        tensor.data.copy_(tensors[key])


def open_model(path: str | Path, base: str | Path | None = None) -> Segmenter:
    """The Segmenter that `path` holds, ready to predict.

    base: the checkpoint file of the adapter's base, where that is not sam_nano. Raises UserError
    for a file that is missing, altered, of another format, or of another base.
    """
    if kind(path) == "folded":
        return folded_checkpoint.load_folded(path)
    return load_adapter(base_of(path, base), path)


def kind(path: str | Path) -> str:
    """ "adapter" or "folded"."""
    return "adapter" if _facts(path)["format"] == FORMAT else "folded"


def base_of(path: str | Path, base: str | Path | None = None):
    """The SAM that an adapter's file names, from the checkpoint file `base` if it needs one."""
    return load_sam(_facts(path).get("base_name", "unnamed"), base)


def _facts(path: str | Path) -> dict[str, str]:
    return tensor_file.describe(path, FORMAT, folded_checkpoint.FORMAT)
