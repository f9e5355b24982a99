"""A run's folder: one run at a time, what is damaged is named, nothing foreign is replaced."""

import dataclasses
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from tiny import tiny_data, tiny_sam

from naslora_core.adapters import DecoderOnly, adapt
from naslora_core.errors import UserError
from naslora_core.files import append, hold, write_atomic
from naslora_core.search.schedule import weights_only
from naslora_core.training import run_folder
from naslora_core.training.early_stopping import EarlyStopping
from naslora_core.training.fitting import fit
from naslora_core.training.run_folder import RunFolder, differences
from naslora_workbook.research.methods import BitFit

QUIET = {"batch": 2, "progress": False, "save_every_seconds": 0}


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.fixture(scope="module")
def done(sam, tmp_path_factory):
    """The folder of a run that ended."""
    folder = tmp_path_factory.mktemp("done") / "run"
    go(sam, folder)
    return folder


@pytest.fixture
def folder(done, tmp_path):
    return Path(shutil.copytree(done, tmp_path / "run"))


PLAIN = DecoderOnly()


def go(sam, out, method=PLAIN, data=None, **how):
    return fit(adapt(sam, method), data or tiny_data(), **{"steps": 3, "out": out, **QUIET, **how})


def saved(value) -> bytes:
    torch.save(value, buffer := io.BytesIO())
    return buffer.getvalue()


def changed(state: bytes, **values) -> bytes:
    return saved(torch.load(io.BytesIO(state)) | values)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize(
    "name, harm",
    [
        ("state.pt", lambda b: b[:2000]),
        ("state.pt", lambda b: b[:20000]),
        ("state.pt", lambda b: b""),
        ("state.pt", lambda b: b"\x80" + b[1:]),
        ("run.json", lambda b: b""),
        ("run.json", lambda b: b[: len(b) // 2]),
        ("run.json", lambda b: b"[1, 2]"),
        ("events.jsonl", lambda b: b[:60]),
        ("events.jsonl", lambda b: b""),
        ("events.jsonl", lambda b: b.replace(b"{", b"\xff", 1)),
        ("events.jsonl", lambda b: b"1\n[]\nnull\n"),
        ("events.jsonl", lambda b: b'{"a": 1}\n' * 3),
        ("events.jsonl", lambda b: b.partition(b"\n")[0] + b"\n" + b),
        ("events.jsonl", lambda b: b.replace(b'"seconds": ', b'"seconds": -')),
        ("state.pt", lambda b: saved(torch.zeros(3))),
        ("state.pt", lambda b: changed(b, step="1")),
        ("state.pt", lambda b: changed(b, step=-1)),
        ("state.pt", lambda b: changed(b, best="x")),
        ("run.json", lambda b: json.dumps(json.loads(b) | {"id": [1]}).encode()),
        ("run.json", lambda b: re.sub(rb'"id": "\w+",', b"", b)),
    ],
)
def test_a_damaged_file_is_named_with_its_remedy(sam, folder, name, harm):
    file = folder / name
    file.write_bytes(harm(file.read_bytes()))
    before, named = contents(folder), "state.pt" if name == "run.json" else name
    with pytest.raises(UserError, match=f"({name}|{named}).*delete"):
        go(sam, folder)
    assert before == contents(folder)


@pytest.mark.parametrize("name", ["state.pt", "run.json", "events.jsonl"])
def test_a_file_that_may_not_be_read_is_named(sam, folder, name, monkeypatch):
    reading, loading = Path.read_bytes, torch.load

    def refusing(function):
        def refuse(file, **how):
            if Path(file).name == name:
                raise PermissionError(13, "Permission denied", str(file))
            return function(file, **how)

        return refuse

    monkeypatch.setattr(Path, "read_bytes", refusing(reading))
    monkeypatch.setattr(torch, "load", refusing(loading))
    with pytest.raises(UserError, match=f"{name} cannot be read .Permission denied") as caught:
        go(sam, folder)
    assert "delete" not in str(caught.value)


def test_a_state_of_another_run_is_not_resumed(sam, folder, tmp_path):
    other = tmp_path / "other"
    go(sam, other, data=tiny_data(8))
    for method in (DecoderOnly(), BitFit()):
        (folder / "run.json").unlink()
        before = contents(folder)
        with pytest.raises(UserError, match="state.pt.*no run.json"):
            go(sam, folder, method)
        assert before == contents(folder)
        shutil.copy(other / "run.json", folder / "run.json")
    with pytest.raises(UserError, match="state.pt.*another run"):  # the state is not the other's
        go(sam, folder, data=tiny_data(8))


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors", "genotype.json"])
def test_files_that_no_run_json_describes_are_not_replaced(sam, tmp_path, name):
    (tmp_path / name).write_bytes(b"of somebody")
    with pytest.raises(UserError, match=name):
        go(sam, tmp_path, early_stopping=EarlyStopping(1))
    assert (tmp_path / name).read_bytes() == b"of somebody" and not (tmp_path / "run.json").exists()


def test_files_of_other_names_are_left_alone(sam, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    go(sam, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_of_an_earlier_version_is_refused_in_a_sentence(sam, folder):
    facts = json.loads((folder / "run.json").read_text())
    old = {k: v for k, v in facts.items() if k not in ("format", "id", "early_stopping")}
    old |= {"schedule": "Schedule(name='weights', stages=())", "method": "DecoderOnly()"}
    (folder / "run.json").write_text(json.dumps(old | {"watch": "None", "features": None}))
    before = contents(folder)
    with pytest.raises(UserError, match="run.json.*another version"):
        go(sam, folder)
    assert before == contents(folder)


def test_a_setting_that_an_older_folder_lacks_has_its_default(sam, folder):
    facts = json.loads((folder / "run.json").read_text())
    del facts["schedule"]["clip"], facts["schedule"]["stages"][0]["weight_decay"], facts["augment"]
    (folder / "run.json").write_text(json.dumps(facts))
    assert len(go(sam, folder).history) == 3
    with pytest.raises(UserError, match="augment flips, not full"):
        go(sam, folder, augment="full")
    with pytest.raises(UserError, match="another schedule"):
        go(sam, folder, schedule=dataclasses.replace(weights_only(3, 2e-3), clip=0.5))


def test_a_run_of_tiles_does_not_go_on_without_them(sam, tmp_path):
    how = {"steps": 1, "out": tmp_path} | QUIET
    fit(adapt(sam, PLAIN, tile=64), tiny_data(), **how)
    with pytest.raises(UserError, match="tile"):
        fit(adapt(sam, PLAIN), tiny_data(), **how)


def test_differences_of_nested_settings():
    old, new = {"stages": [{"steps": 1}]}, {"stages": [{"steps": 1, "late": 2}]}
    assert not differences(old, new, {"stages": {"late": 2}})
    assert differences(old, new, {"stages": {"late": 3}})
    assert differences({"a": None}, {"a": {"b": 1}}, {}) == ["a None, not {'b': 1}"]
    assert differences({}, {"a": 1}, {"a": 1}) == []


def test_another_thread_may_not_begin_the_same_run(sam, tmp_path):
    inside, go_on = threading.Event(), threading.Event()

    def pause(event):
        inside.set()
        assert go_on.wait(60)

    first = threading.Thread(target=go, args=(sam, tmp_path), kwargs={"on_event": pause})
    first.start()
    assert inside.wait(60)
    with pytest.raises(UserError, match="in use"):
        go(sam, tmp_path)
    go_on.set()
    first.join()
    assert len(go(sam, tmp_path).history) == 3  # it is free again


def test_another_process_may_not_hold_the_lock_and_a_killed_one_leaves_it(tmp_path):
    code = "import sys, time; from pathlib import Path; from naslora_core.files import hold\n"
    code += "lock = hold(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert process.stdout.readline().strip() == b"held"
    with pytest.raises(UserError, match="in use"):
        hold(tmp_path / "lock")
    process.kill()
    process.wait()
    lock = hold(tmp_path / "lock")
    with pytest.raises(UserError, match="in use"):
        hold(tmp_path / "lock")
    lock.release()
    hold(tmp_path / "lock").release()


@pytest.mark.skipif(os.name == "nt", reason="no umask there")
@pytest.mark.parametrize("umask", [0o077, 0o022, 0o027])
def test_files_have_the_permissions_that_the_umask_gives(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "new", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~umask


def test_a_disk_that_fills_is_named_with_the_file(sam, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    def filled(self, *rest, **how):
        return full() if self.name == "events.jsonl" else opening(self, *rest, **how)

    opening = Path.open
    for name, part in (
        ("run.json", ("naslora_core.files.os.fsync", full)),
        ("events.jsonl", ("pathlib.Path.open", filled)),
        ("state.pt", ("torch.save", full)),
    ):
        monkeypatch.setattr(*part)
        with pytest.raises(UserError, match=f"{name}.*No space left"):
            go(sam, tmp_path / name)
        if name == "events.jsonl":
            with pytest.raises(UserError, match="events.jsonl.*No space left"):
                append(tmp_path / name, "x")
        monkeypatch.undo()


def test_states_are_saved_by_time_and_by_what_a_save_costs(tmp_path, monkeypatch):
    class Fabric:
        is_global_zero, broadcast = True, staticmethod(lambda value: value)

    def save(self, run):
        saved.append(now[0])
        self._saved = now[0]

    now, saved = [0.0], []
    monkeypatch.setattr(run_folder.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(RunFolder, "_save_state", save)
    for cost, wanted in ((0.0, [11, 22, 33, 44, 55]), (1.0, [21, 42])):
        now[0], saved[:] = 0.0, []
        folder = RunFolder(tmp_path / str(cost), {}, {}, Fabric, save_every=10)
        folder._cost = cost
        for now[0] in range(1, 60):
            folder.write(None, {"step": now[0]}, best=False)
        folder.close()
        assert saved == wanted


def test_a_state_is_written_beside_the_training_and_is_of_its_own_step(sam, tmp_path, monkeypatch):
    written, real = [], torch.save

    def slow(state, file):
        time.sleep(0.3)  # the next steps move the model meanwhile
        written.append((state["step"], threading.current_thread() is threading.main_thread()))
        real(state, file)

    monkeypatch.setattr(torch, "save", slow)
    marks = []
    result = go(sam, tmp_path, steps=4, on_event=lambda e: marks.append(len(written)))
    assert [step for step, _ in written] == [1, 2, 3, 4, 4] and not any(main for _, main in written)
    assert marks[0] == 0  # the first step did not wait for its state
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert all(torch.equal(state["tensors"][n], t) for n, t in result.model.trainable().items())
