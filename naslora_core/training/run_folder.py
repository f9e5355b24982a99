"""A run's folder: what a killed run needs to end exactly as an uninterrupted one."""

import io
import json
from pathlib import Path

import torch

from naslora_core.adapters import Adapted, save_adapter
from naslora_core.errors import UserError
from naslora_core.files import make_folder, write_atomic
from naslora_core.training.early_stopping import VALIDATION_DICE, best_validation, validation_scores

EVERY = 25  # steps between two saved states


class RunFolder:
    """`run.json` (arguments), `state.pt` (tensors, optimiser, step), `events.jsonl`, and adapter
    files: `last.safetensors` at the end, `best.safetensors` where validation images were looked at.

    With path None nothing is written. The log is cut back to the state on resuming, so the two
    never disagree; every file is written aside and renamed. Of many processes the first writes.
    """

    def __init__(self, path: str | Path | None, arguments: dict):
        self.path = make_folder(path) if path else None
        if self.path:
            self._same(arguments)

    def _same(self, arguments: dict) -> None:
        """Begin the folder, or refuse one that another run began."""
        file, wanted = self.path / "run.json", json.loads(json.dumps(arguments))
        if not file.exists():
            write_atomic(file, json.dumps(wanted, indent=1))
            return
        found = json.loads(file.read_text())
        changed = [k for k, v in wanted.items() if found.get(k) != v]
        if changed:
            told = ", ".join(_told(k, found.get(k), wanted[k]) for k in changed)
            raise UserError(
                f"{self.path} holds a run with {told}; start it as it was, choose another `out`, "
                "or delete the folder to begin anew."
            )

    def restore(self, run) -> None:
        """Put a saved state back into `run`, if there is one; else it begins with an empty log."""
        if not self.path:
            return
        if (self.path / "state.pt").exists():
            self._load(run)
        log = self.path / "events.jsonl"
        if log.exists():
            lines = log.read_text().splitlines()[: run.step]
            run.history = [json.loads(line) for line in lines]
            write_atomic(log, "".join(line + "\n" for line in lines))

    def _load(self, run) -> None:
        state = torch.load(self.path / "state.pt", weights_only=True, map_location="cpu")
        here = _kept(run.model)
        with torch.no_grad():
            for name, value in state["tensors"].items():
                here[name].copy_(value)
        run.optimiser.load_state_dict(state["optimiser"])
        run.fabric.strategy.precision.load_state_dict(state["precision"])
        run.step = state["step"]

    def write(self, run, event: dict) -> None:
        """Append the event; save the state now and then, the best when it comes."""
        if not self.path or not run.fabric.is_global_zero:
            return
        seen = validation_scores(run.history)
        if VALIDATION_DICE in event and best_validation(seen) == len(seen):
            self._save(run.model, "best")
        with (self.path / "events.jsonl").open("a") as log:
            log.write(json.dumps(event) + "\n")
        if run.step % EVERY == 0:
            write_atomic(self.path / "state.pt", _packed(run))

    def finish(self, run) -> None:
        """The adapter and the state as they ended, early or not."""
        if self.path and run.fabric.is_global_zero:
            write_atomic(self.path / "state.pt", _packed(run))
            self._save(run.model, "last")

    def _save(self, model, name: str) -> None:
        if isinstance(model, Adapted):  # a U-Net is no adapter
            save_adapter(model, self.path / f"{name}.safetensors")


def _told(name: str, old, new) -> str:
    """An argument's two values, or its name alone where they are long or say nothing."""
    if name == "content":
        return "other pictures or masks"
    values = f"{name} {old}, not {new}"
    return values if len(values) < 60 else f"another {name}"


def _kept(model) -> dict[str, torch.Tensor]:
    """What an adapter file would hold; of a U-Net every parameter."""
    return model.adapter_state_dict() if hasattr(model, "adapter_state_dict") else model.trainable()


def _packed(run) -> bytes:
    buffer = io.BytesIO()
    state = {
        "tensors": {n: t.detach() for n, t in _kept(run.model).items()},
        "optimiser": run.optimiser.state_dict(),
        "precision": run.fabric.strategy.precision.state_dict(),
        "step": run.step,
    }
    torch.save(state, buffer)
    return buffer.getvalue()
