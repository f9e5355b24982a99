"""Turn a cooled leg into the next weights: tensors, manifest, learning curve, table."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save

from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_core.sam import build_nano
from naslora_core.sam.checkpoints import manifest, read_state
from naslora_workbook.research.base_table import SCENE_COUNT, SCENE_SEED, scene_cases, score
from naslora_workbook.research.pretraining.weights import NEXT, latest


def publish(out: Path, target: Path = NEXT) -> dict:
    """Write `sam_nano.safetensors` (fp16), its manifest and its curve from a leg's folder `out`.

    The manifest holds the table on the frozen evaluation scenes of the fp16 weights themselves.
    """
    for name in ("cooled.pt", "log.jsonl", "provenance.json"):
        if not (out / name).exists():
            raise UserError(f"{out / name} is not there; finish a leg: pretrain --out {out} ...")
    state = torch.load(out / "cooled.pt", weights_only=True, map_location="cpu")
    data = save({k: v.half().contiguous() for k, v in state.items()})
    sam = build_nano().eval()
    sam.load_state_dict({k: v.half().float() for k, v in state.items()})
    curve = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    seen, known = curve[-1]["scenes"], manifest(latest())["scenes_seen"]
    if seen <= known:
        raise UserError(
            f"{out} has seen {seen} scenes, the published weights {known}; train on from those."
        )
    curve = _earlier(curve[0]["scenes"]) + curve
    card = {
        "name": "sam_nano",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "parameters": sum(p.numel() for p in sam.parameters()),
        "scenes_seen": seen,
        "training_minutes": curve[-1]["minutes"],
        "licence": "Apache-2.0; trained on procedural scenes only, no photograph was used",
        "table": {"scenes": SCENE_COUNT, "seed": SCENE_SEED, **score(sam, scene_cases())},
        "provenance": json.loads((out / "provenance.json").read_text()),
    }
    target.mkdir(exist_ok=True)
    write_atomic(target / "sam_nano.safetensors", data)
    write_atomic(target / "sam_nano.json", json.dumps(card, indent=1) + "\n")
    lines = ",\n".join(json.dumps(event) for event in curve)
    write_atomic(target / "sam_nano_curve.json", f"[\n{lines}\n]\n")
    return card


def published() -> dict:
    """Where a leg starts: the tensors of the latest weights, and what they have cost so far."""
    facts = manifest(latest())
    state = read_state(latest() / "sam_nano.safetensors", facts["sha256"])
    start = {"tensors": {k: v.float() for k, v in state.items()}}
    return start | {"scenes": facts["scenes_seen"], "minutes": facts["training_minutes"]}


def _earlier(scenes: int) -> list[dict]:
    """The published curve of the legs before, up to so many scenes."""
    curve = json.loads((latest() / "sam_nano_curve.json").read_text())
    return [event for event in curve if event["scenes"] < scenes]
