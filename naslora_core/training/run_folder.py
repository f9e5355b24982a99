"""A run's folder: what a killed run needs to end exactly as an uninterrupted one."""

import hashlib
import json
import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch.utils._pytree import tree_map_only

from naslora_core.adapters import Adapted, save_adapter
from naslora_core.errors import UserError, fault, number
from naslora_core.files import append, as_path, hold, make_folder, not_read, read, write_atomic

FORMAT = 2  # of run.json; 1 held settings as Python's repr
OURS = ("state.pt", "events.jsonl", "best.safetensors", "last.safetensors", "genotype.json")
LEAST_SHARE = 20  # a state that took a second to save is next saved 20 s later at the soonest
ANEW = "choose another `out`, or delete the folder to begin anew"


class RunFolder:
    """`run.json` (settings), `state.pt` (tensors, optimiser, step), `events.jsonl`, and adapter
    files: `last.safetensors` at the end, `best.safetensors` where validation images were scored.

    With path None nothing is written. On resuming the log is cut back to the state. Of many
    processes the first writes, and holds a lock until `close`. A folder with such files that no
    run.json describes is refused. save_every: seconds between two saved states, more where a state
    is large; 0: every step. A state is copied to the CPU and written by a thread beside the
    training.
    """

    def __init__(
        self, path: str | Path | None, settings: dict, defaults: dict, fabric, save_every: float
    ):
        self.path = as_path(path) if path else None
        self.fabric, self.save_every = fabric, save_every
        self._writes = bool(path) and fabric.is_global_zero
        self._lock, self._pending, self._thread = None, None, ThreadPoolExecutor(1)
        self._saved, self._cost = time.monotonic(), 0.0
        if not self.path:
            return
        problem = ""  # of the first process; every process raises it
        try:
            if fabric.is_global_zero:
                self._begin(*(json.loads(json.dumps(x)) for x in (settings, defaults)))
        except UserError as error:
            problem = str(error)
        if problem := fabric.broadcast(problem):
            self.close()
            raise UserError(problem)
        self.run_id = _read_json(self.path / "run.json").get("id")

    def _begin(self, settings: dict, defaults: dict) -> None:
        """Begin the folder, or refuse one that another run began."""
        file = make_folder(self.path) / "run.json"
        self._lock = hold(self.path / ".lock")
        if not file.exists():
            if found := [name for name in OURS if (self.path / name).exists()]:
                given, remedy = f"holds {', '.join(found)} and no run.json", "choose another `out`"
                raise fault(self.path, given, "a run's folder, or a new one", remedy)
            digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
            text = json.dumps({"format": FORMAT, "id": digest} | settings, indent=1)
            return write_atomic(file, text)
        found = _read_json(file)
        if (version := found.get("format", 1)) != FORMAT:
            raise fault(file, f"is of another version (format {version})", f"{FORMAT}", ANEW)
        if changed := differences(found, settings, defaults):
            given = f"{self.path} holds a run with {', '.join(changed)}"
            raise UserError(f"{given}; start it as it was, {ANEW}.")

    def restore(self, run) -> None:
        """Put a saved state back into `run`, if there is one; UserError for a damaged state or
        log, and for a state of another run."""
        if not self.path:
            return
        file, log = self.path / "state.pt", self.path / "events.jsonl"
        if file.exists():
            _load(run, file, self.run_id)
        lines = read(log).decode(errors="replace").splitlines()[: run.step] if log.exists() else []
        try:
            run.history = [json.loads(line) for line in lines]
            steps = [event["step"] for event in run.history if event["seconds"] >= 0]
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(log, f"{type(error).__name__}: {error}") from error
        if steps != [*range(1, run.step + 1)]:
            raise _damaged(log, f"it has {len(steps)} steps in order, the state {run.step}")
        if self._writes:
            write_atomic(log, "".join(line + "\n" for line in lines))

    def write(self, run, event: dict, best: bool) -> None:
        """Append the event; save the best adapter when it comes, the state when it is time."""
        if not self._writes:
            return
        if best:
            self._save_adapter(run.model, "best")
        append(self.path / "events.jsonl", json.dumps(event) + "\n")
        due = time.monotonic() - self._saved > max(self.save_every, LEAST_SHARE * self._cost)
        done = self._pending is None or self._pending.done()
        if self.save_every == 0 or (due and done):
            self._save_state(run)

    def finish(self, run) -> None:
        """The adapter and the state as they ended, early or not."""
        if self._writes:
            self._save_state(run)
            self._save_adapter(run.model, "last")
            self._pending.result()

    def close(self) -> None:
        """Wait for what is being written, and let others have the folder."""
        self._thread.shutdown()
        if self._lock:
            self._lock.release()
            self._lock = None

    def _save_state(self, run) -> None:
        """Copy the state now, write it beside the next steps; an error of the last one is raised
        here."""
        if self._pending:
            self._pending.result()
        self._saved = time.monotonic()
        state = {
            "run": self.run_id,
            "tensors": run.tensors(),
            "best": run.best,
            "optimiser": run.optimiser.state_dict(),
            "precision": run.fabric.strategy.precision.state_dict(),
            "step": run.step,
        }
        copied = tree_map_only(torch.Tensor, lambda t: t.detach().to("cpu", copy=True), state)
        self._pending: Future = self._thread.submit(self._write_state, copied)

    def _write_state(self, state: dict) -> None:
        write_atomic(self.path / "state.pt", lambda file: torch.save(state, file))
        self._cost = time.monotonic() - self._saved

    def _save_adapter(self, model, name: str) -> None:
        if isinstance(model, Adapted):  # a U-Net is no adapter
            save_adapter(model, self.path / f"{name}.safetensors")


def differences(found: dict, wanted: dict, defaults: dict) -> list[str]:
    """Which settings differ, with both values; one that an older file lacks has its default."""
    found = {n: _filled(found.get(n, defaults.get(n)), defaults.get(n)) for n in wanted}
    return [_sentence(n, found[n], new) for n, new in wanted.items() if found[n] != new]


def _filled(value, usual):
    """A setting with its defaults wherever it has dicts, itself or as parts of a list."""
    if isinstance(value, list):
        return [_filled(one, usual) for one in value]
    if isinstance(value, dict) and isinstance(usual, dict):
        return {key: _filled(one, usual.get(key)) for key, one in (usual | value).items()}
    return value


def _sentence(name: str, old, new) -> str:
    """A setting's two values, or its name alone where they are long or mean nothing."""
    if name == "content":
        return "other pictures or masks"
    values, nested = f"{name} {old}, not {new}", isinstance(old, dict) and isinstance(new, dict)
    return f"another {name}" if nested or len(values) >= 60 else values


def _damaged(file: Path, why) -> UserError:
    return fault(file, f"is damaged ({why})", "one that the run can go on from", ANEW)


def _read_json(file: Path) -> dict:
    held = read(file)
    try:
        return {**json.loads(held)}
    except (ValueError, TypeError) as error:
        raise _damaged(file, f"no JSON object: {error}") from error


def _load(run, file: Path, run_id: str) -> None:
    """Put the state of a file into the run; UserError for one that is damaged or another run's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of in a torn file
            state = dict(torch.load(file, weights_only=True, map_location="cpu"))
        if state["run"] != run_id:
            raise ValueError("it is the state of another run")
        best = state["best"] and dict(state["best"])
        run.load_tensors(state["tensors"])
        run.optimiser.load_state_dict(state["optimiser"])
        run.fabric.strategy.precision.load_state_dict(state["precision"])
        run.step, run.best = number("its step", state["step"], 0), best
    except (PermissionError, FileNotFoundError) as error:
        raise not_read(file, error) from error
    except Exception as error:  # a torn file fails in many ways
        raise _damaged(file, f"{type(error).__name__}: {error}".partition("\n")[0]) from error
