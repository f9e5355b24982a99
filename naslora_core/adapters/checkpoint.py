"""One file per adapter: what was trained, what it was trained on, and for which base."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

import naslora_core
from naslora_core.adapters import folding, tensor_file
from naslora_core.adapters.adaptation import CLASSES, Adapted, Method, adapt, adapted, head_name
from naslora_core.errors import UserError, fault
from naslora_core.sam import Segmenter, load_sam, model_hash
from naslora_core.sam.checkpoints import unlike
from naslora_core.search.operator_registry import operator_names, require_operators, set_hash

FORMAT, BEFORE = "naslora-adapter-4", "naslora-adapter-3"
# Settings that methods had in files of before, and their values that change nothing.
RETIRED = {("NASPCLoRA", "shuffle"): (False,), ("FixedConv", "start"): ("zero", "random")}


def save_adapter(model: Adapted, path: str | Path) -> Path:
    """Write We, Wd, operators, alpha and the trained decoder, with metadata, as safetensors; equal
    models give equal bytes."""
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
    if operators := _operators(model.method):
        names = operator_names(operators)
        facts |= {"operators": json.dumps(names), "operator_hash": set_hash(names)}
    return facts


def _operators(method: Method) -> str | tuple[str, ...]:
    """A method's operators, or its set: searched, or chosen (each once); none of other methods."""
    return getattr(method, "operators", tuple(dict.fromkeys(getattr(method, "chosen", ()))))


def load_adapter(sam: nn.Module, path: str | Path) -> Adapted:
    """The model that `save_adapter` wrote, on its own base.

    Raises UserError for a file that is missing, truncated or altered, for another base (both
    hashes named), other operators, and for missing or unknown tensors (named).
    """
    facts, tensors = tensor_file.read(path, FORMAT, BEFORE)
    here = model_hash(sam)
    if facts["base_hash"] != here:
        raise UserError(
            f"{Path(path).name} was trained on {facts['base_name']} {facts['base_hash'][:12]}, "
            f"this base is {getattr(sam, 'model_name', 'unnamed')} {here[:12]}; load that base, by "
            "its file where it is not the usual one: load_sam(NAME, FILE), --checkpoint FILE."
        )
    shape = int(facts["classes"]), int(facts["seed"]), facts["head"]
    model = adapt(sam, _method(facts, path), *shape).take_input_facts(facts)
    _fill(model.adapter_state_dict(), _without_temperature(tensors), Path(path).name)
    return model


def _method(facts: Mapping[str, str], path: str | Path) -> Method:
    """The method that the file describes; what it does not say takes its default."""
    name = facts["method"]
    if name not in CLASSES:
        remedy = "import its module first (for comparison: naslora_workbook.research.methods)"
        raise fault(path, f"holds the method {name!r}", f"one of {', '.join(CLASSES)}", remedy)
    try:
        settings = json.loads(facts["settings"])
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        wanted = {k: v for k, v in settings.items() if v not in RETIRED.get((name, k), ())}
        method = CLASSES[name](**wanted)
    except (TypeError, AttributeError, json.JSONDecodeError) as error:
        given, remedy = f"has settings {facts['settings']!r} ({error})", "load it with version "
        raise fault(path, given, f"those of {name} here", remedy + facts["version"]) from error
    if "operator_hash" in facts:
        by_name = facts["format"] == BEFORE
        require_operators(path, _operators(method), facts["operator_hash"], by_name)
    return method


def _without_temperature(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Files of before hold alpha and a temperature T of its softmax: alpha / T says the same."""
    found = {n: t for n, t in tensors.items() if not n.endswith(".temperature")}
    for name in tensors.keys() - found:
        if (alpha := name.replace("temperature", "arch_alpha")) in found:
            found[alpha] = found[alpha] / tensors[name]
    return found


def _fill(wanted: dict[str, Tensor], tensors: dict[str, Tensor], name: str) -> None:
    if given := unlike(wanted, tensors):
        raise fault(name, given, "what it says that it holds", "save the adapter anew")
    for key, tensor in wanted.items():
        tensor.data.copy_(tensors[key])


def open_model(path: str | Path, base: str | Path | None = None) -> Segmenter:
    """The Segmenter that `path` holds, adapted or folded, ready to predict.

    base: the checkpoint file of the adapter's base, where that is not sam_nano. Raises UserError
    for a file that is missing, altered, of another format, or of another base.
    """
    facts = tensor_file.describe(path, FORMAT, BEFORE, folding.FORMAT)
    if facts["format"] == folding.FORMAT:
        return folding.load_folded(path)
    return load_adapter(load_sam(facts.get("base_name", "unnamed"), base), path)
