"""A run's folder: what a killed run needs to end exactly as an uninterrupted one."""

import hashlib
import json
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from naslora_core.adapters import Adapted, save_adapter
from naslora_core.errors import UserError
from naslora_core.files import Lock, append, make_folder, not_read, read, write_atomic

FORMAT = 2  # of run.json; 1 held settings as Python's repr
OURS = ("state.pt", "events.jsonl", "best.safetensors", "last.safetensors", "genotype.json")
LEAST_SHARE = 20  # a state that took a second to save is next saved 20 s later at the soonest


class RunFolder:
    """`run.json` (settings), `state.pt` (tensors, optimiser, step), `events.jsonl`, and adapter
    files: `last.safetensors` at the end, `best.safetensors` where validation images were scored.

    With path None nothing is written. The log is cut back to the state on resuming, so the two
    never disagree; every file is written aside and renamed. Of many processes the first writes,
    and holds a lock until `close`. A folder with such files that no run.json describes is refused.

    save_every: seconds between two saved states, more where a state is large; 0: every step. A
    state is copied to the CPU and written by a thread beside the training.
    """

    def __init__(
        self, path: str | Path | None, settings: dict, defaults: dict, fabric, save_every: float
    ):
        self.path, self.fabric, self.save_every = Path(path) if path else None, fabric, save_every
        self._writes = bool(path) and fabric.is_global_zero
        self._lock, self._pending = None, None
        self._thread = ThreadPoolExecutor(1)
        self._saved, self._cost = time.monotonic(), 0.0
        if self.path:
            settings, defaults = (json.loads(json.dumps(x)) for x in (settings, defaults))
            self._on_first_process(lambda: self._begin(settings, defaults))
            self.run_id = _read_json(self.path / "run.json")["id"]

    def _on_first_process(self, action: Callable[[], None]) -> None:
        """Do it on the first process; every process raises its UserError."""
        problem = None
        if self.fabric.is_global_zero:
            try:
                action()
            except UserError as error:
                problem = str(error)
        problem = self.fabric.broadcast(problem)
        if problem:
            self.close()
            raise UserError(problem)

    def _begin(self, settings: dict, defaults: dict) -> None:
        """Begin the folder, or refuse one that another run began."""
        file = make_folder(self.path) / "run.json"
        self._lock = Lock(self.path / ".lock")
        if file.exists():
            return self._check_same(_read_json(file), settings, defaults)
        if found := [name for name in OURS if (self.path / name).exists()]:
            raise UserError(
                f"{self.path} holds {', '.join(found)} and no run.json that says of which run; "
                "choose another `out`, or move these files away."
            )
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        write_atomic(file, json.dumps({"format": FORMAT, "id": digest} | settings, indent=1))

    def _check_same(self, found: dict, settings: dict, defaults: dict) -> None:
        if found.get("format") != FORMAT:
            raise UserError(
                f"{self.path / 'run.json'} was written by another version of this package (format "
                f"{found.get('format', 1)}, here {FORMAT}); choose another `out`, or delete the "
                "folder to begin anew."
            )
        if changed := differences(found, settings, defaults):
            raise UserError(
                f"{self.path} holds a run with {', '.join(changed)}; start it as it was, choose "
                "another `out`, or delete the folder to begin anew."
            )

    def restore(self, run) -> None:
        """Put a saved state back into `run`, if there is one; else it begins with an empty log.

        UserError for a damaged state or log, and for a state of another run.
        """
        if not self.path:
            return
        file, log = self.path / "state.pt", self.path / "events.jsonl"
        if file.exists():
            state = _read_state(file)
            if state.get("run") != self.run_id:
                raise _damaged(file, "it is the state of another run")
            _load(run, state, file)
        lines = read(log).decode(errors="replace").splitlines()[: run.step] if log.exists() else []
        try:
            run.history = [json.loads(line) for line in lines]
        except ValueError as error:
            raise _damaged(log, error) from error
        if len(lines) < run.step:
            raise _damaged(log, f"it has {len(lines)} steps, the state {run.step}")
        if self._writes:
            write_atomic(log, "".join(line + "\n" for line in lines))

    def write(self, run, event: dict, best: bool) -> None:
        """Append the event; save the best adapter when it comes, the state when it is time."""
        if not self._writes:
            return
        if best:
            self._save_adapter(run.model, "best")
        append(self.path / "events.jsonl", json.dumps(event) + "\n")
        since = time.monotonic() - self._saved
        if self.save_every == 0 or (
            since > max(self.save_every, LEAST_SHARE * self._cost) and self._done()
        ):
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

    def _done(self) -> bool:
        return self._pending is None or self._pending.done()

    def _save_state(self, run) -> None:
        """Copy the state now, write it beside the next steps; an error of the last one is raised
        here."""
        if self._pending:
            self._pending.result()
        self._saved = time.monotonic()
        state = _on_cpu(
            {
                "run": self.run_id,
                "tensors": run.tensors(),
                "best": run.best,
                "optimiser": run.optimiser.state_dict(),
                "precision": run.fabric.strategy.precision.state_dict(),
                "step": run.step,
            }
        )
        self._pending: Future = self._thread.submit(self._write_state, state)

    def _write_state(self, state: dict) -> None:
        write_atomic(self.path / "state.pt", lambda file: torch.save(state, file))
        self._cost = time.monotonic() - self._saved

    def _save_adapter(self, model, name: str) -> None:
        if isinstance(model, Adapted):  # a U-Net is no adapter
            save_adapter(model, self.path / f"{name}.safetensors")


def differences(found: dict, wanted: dict, defaults: dict) -> list[str]:
    """Which settings differ, with both values; one that an older file lacks has its default."""
    changed = []
    for name, new in wanted.items():
        old, usual = found.get(name, defaults.get(name)), defaults.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            if differences(old, new, usual if isinstance(usual, dict) else {}):
                changed.append(f"another {name}")
        elif _is_list_of_dicts(old) and _is_list_of_dicts(new) and len(old) == len(new):
            pairs = zip(old, new, strict=True)
            if any(differences(a, b, usual or {}) for a, b in pairs):
                changed.append(f"another {name}")
        elif old != new:
            changed.append(_sentence(name, old, new))
    return changed


def _is_list_of_dicts(value) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _sentence(name: str, old, new) -> str:
    """A setting's two values, or its name alone where they are long or mean nothing."""
    if name == "content":
        return "other pictures or masks"
    values = f"{name} {old}, not {new}"
    return values if len(values) < 60 else f"another {name}"


def _damaged(file: Path, why) -> UserError:
    return UserError(
        f"{file} is damaged ({why}); the run cannot go on from it: delete {file.parent} to begin "
        "anew, or choose another `out`."
    )


def _read_json(file: Path) -> dict:
    held = read(file)
    try:
        found = json.loads(held)
    except ValueError as error:
        raise _damaged(file, f"no JSON: {error}") from error
    if not isinstance(found, dict):
        raise _damaged(file, "no JSON object")
    return found


def _read_state(file: Path) -> dict:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of in a torn file
            state = torch.load(file, weights_only=True, map_location="cpu")
        return state if isinstance(state, dict) else {}
    except (PermissionError, FileNotFoundError) as error:
        raise not_read(file, error) from error
    except Exception as error:  # a torn file fails in many ways
        raise _damaged(file, str(error).partition("\n")[0] or type(error).__name__) from error


def _load(run, state: dict, file: Path) -> None:
    try:
        run.load_tensors(state["tensors"])
        run.optimiser.load_state_dict(state["optimiser"])
        run.fabric.strategy.precision.load_state_dict(state["precision"])
        run.step, run.best = state["step"], state["best"]
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise _damaged(file, f"{type(error).__name__}: {error}") from error


def _on_cpu(value):
    """A copy of all tensors in a nest of dicts and lists, in the CPU's memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _on_cpu(one) for key, one in value.items()}
    return [_on_cpu(one) for one in value] if isinstance(value, list) else value
