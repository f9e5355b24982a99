"""A run's folder: what a killed run needs to end exactly as an uninterrupted one."""

import io
import json
from pathlib import Path

import torch

from naslora_core.errors import UserError
from naslora_core.files import write_atomic

EVERY = 25  # steps between two saved states


class RunFolder:
    """`run.json` (arguments), `state.pt` (tensors, optimisers, step), `events.jsonl`.

    With path None nothing is written. The log is cut back to the state on resuming, so the two
    never disagree; every file is written aside and renamed.
    """

    def __init__(self, path: str | Path | None, arguments: dict):
        self.path = Path(path) if path else None
        if self.path:
            self.path.mkdir(parents=True, exist_ok=True)
            self._same(arguments)

    def _same(self, arguments: dict) -> None:
        """Begin the folder, or refuse one that another run began."""
        file, wanted = self.path / "run.json", json.loads(json.dumps(arguments))
        if not file.exists():
            write_atomic(file, json.dumps(wanted, indent=1))
            return
        found = json.loads(file.read_text())
        changed = [k for k in wanted if found.get(k) != wanted[k]]
        if changed:
            raise UserError(
                f"{self.path} holds a run with another {', '.join(changed)}; choose another `out`, "
                "or delete the folder to begin anew."
            )

    def restore(self, run) -> None:
        """Put a saved state back into `run`, if there is one."""
        if not self.path or not (self.path / "state.pt").exists():
            return
        state = torch.load(self.path / "state.pt", weights_only=True)
        here = _kept(run.model)
        with torch.no_grad():
            for name, value in state["tensors"].items():
                here[name].copy_(value)
        for kind, optimiser in run.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][kind])
        run.step = state["step"]
        lines = (self.path / "events.jsonl").read_text().splitlines()[: run.step]
        run.history = [json.loads(line) for line in lines]
        write_atomic(self.path / "events.jsonl", "".join(line + "\n" for line in lines))

    def write(self, run, event: dict) -> None:
        """Append the event; save the state now and then and at the end."""
        if not self.path:
            return
        with (self.path / "events.jsonl").open("a") as log:
            log.write(json.dumps(event) + "\n")
        if run.step % EVERY == 0 or run.step == run.schedule.steps:
            write_atomic(self.path / "state.pt", _packed(run))


def _kept(model) -> dict[str, torch.Tensor]:
    """What an adapter file would hold; of a U-Net every parameter."""
    return model.kept() if hasattr(model, "kept") else model.trained()


def _packed(run) -> bytes:
    buffer = io.BytesIO()
    state = {
        "tensors": {n: t.detach() for n, t in _kept(run.model).items()},
        "optimisers": {kind: o.state_dict() for kind, o in run.optimisers.items()},
        "step": run.step,
    }
    torch.save(state, buffer)
    return buffer.getvalue()
