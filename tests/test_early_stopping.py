"""Validation while training: the best is kept, and a run stops when nothing improves."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_data

from naslora_core.adapters import LoRA, NASLoRA, adapt, load_adapter
from naslora_core.errors import UserError
from naslora_core.sam import build_nano, load_sam
from naslora_core.training.early_stopping import (
    VALIDATION_DICE,
    EarlyStopping,
    best_validation,
    validation_scores,
)
from naslora_core.training.evaluation import evaluate
from naslora_core.training.fitting import fit

SCORING = sys.modules["naslora_core.training.evaluation"]  # the package names its function so
QUIET = {"batch": 2, "progress": False}


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return build_nano().eval().requires_grad_(False)


def test_the_first_of_the_best():
    assert [best_validation(s) for s in ([], [0.1], [0.1, 0.3, 0.3], [0.4, 0.3])] == [0, 1, 2, 1]
    history = [{VALIDATION_DICE: v} for v in (0.5, 0.4, 0.4)]
    assert EarlyStopping(1, 2).should_stop(history) and not EarlyStopping(1, 3).should_stop(history)
    assert not EarlyStopping(1).should_stop(history) and not EarlyStopping(1, 1).should_stop([])
    with pytest.raises(UserError, match="patience=0"):
        EarlyStopping(5, 0)


def test_best_is_what_did_best_on_validation_images_and_last_what_came_last(
    sam, tmp_path, monkeypatch
):
    marks, asked, states = iter((0.2, 0.6, 0.4)), [], []

    def marked(model, samples, **how):
        asked.append(([s.name for s in samples], how))
        states.append({k: v.detach().clone() for k, v in model.adapter_state_dict().items()})
        return SimpleNamespace(mean={"dice": next(marks)})

    monkeypatch.setattr(SCORING, "evaluate", marked)
    model, settings = (
        adapt(sam, LoRA(rank=2)),
        {"early_stopping": EarlyStopping(2, images=3), "accumulate": 2},
    )
    result = fit(model, tiny_data(), steps=7, out=tmp_path, **settings, **QUIET)
    assert [e.get(VALIDATION_DICE) for e in result.history] == [
        None,
        0.2,
        None,
        0.6,
        None,
        0.4,
        None,
    ]
    assert asked == 3 * [(["val0", "val1", "val2"], {"classes": 1, "batch": 1})]
    best_file, last_file = (load_file(tmp_path / f"{n}.safetensors") for n in ("best", "last"))
    wanted = {"best": states[1], "last": model.adapter_state_dict()}
    assert best_file.keys() == states[1].keys()
    for name, file in (("best", best_file), ("last", last_file)):
        assert all(torch.equal(file[k], v) for k, v in wanted[name].items())
    for other in (states[0], states[2], last_file):
        assert any(not torch.equal(best_file[k], v) for k, v in other.items())


@pytest.mark.parametrize("images, seen", [(None, 4), (9, 4), (1, 1)])
def test_a_look_takes_as_many_images_as_it_may_and_as_there_are(sam, monkeypatch, images, seen):
    def counted(model, samples, **how):
        return SimpleNamespace(mean={"dice": len(samples)})

    monkeypatch.setattr(SCORING, "evaluate", counted)
    assert EarlyStopping(5, images=images).validate(None, tiny_data(), 10) == {
        VALIDATION_DICE: seen
    }
    assert EarlyStopping(5, images=images).validate(None, tiny_data(), 12) == {}


def test_the_files_score_what_the_log_says(tmp_path):
    sam, data = load_sam(), tiny_data()
    result = fit(
        adapt(sam, LoRA(rank=2)),
        data,
        steps=6,
        out=tmp_path,
        early_stopping=EarlyStopping(2),
        **QUIET,
    )
    seen, scores = validation_scores(result.history), {}
    assert len(set(seen)) == 3  # no marks of a model that answers nothing
    for name in ("best", "last"):
        kept = load_adapter(sam, tmp_path / f"{name}.safetensors")
        scores[name] = evaluate(kept, data.val).mean["dice"]
    assert scores["best"] == pytest.approx(max(seen), abs=1e-5)
    assert scores["last"] == pytest.approx(seen[-1], abs=1e-5)


def test_a_tired_run_stops_and_stays_stopped(sam, tmp_path, monkeypatch):
    values = iter((0.5, 0.4, 0.3, 0.9))
    monkeypatch.setattr(EarlyStopping, "validate", lambda *_: {VALIDATION_DICE: next(values)})
    settings = {"steps": 8, "out": tmp_path, "early_stopping": EarlyStopping(1, 2)} | QUIET
    assert len(fit(adapt(sam, LoRA(rank=2)), tiny_data(), **settings).history) == 3
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 3
    assert len(fit(adapt(sam, LoRA(rank=2)), tiny_data(), **settings).history) == 3


def test_looking_changes_nothing(sam, tmp_path):
    for name, early_stopping in (("blind", None), ("watched", EarlyStopping(1, images=1))):
        model = adapt(sam, NASLoRA(rank=2))
        fit(
            model, tiny_data(), steps=4, out=tmp_path / name, early_stopping=early_stopping, **QUIET
        )
    a, b = (load_file(tmp_path / n / "last.safetensors") for n in ("blind", "watched"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert json.loads((tmp_path / "watched" / "run.json").read_text())["early_stopping"] == (
        "EarlyStopping(every=1, patience=None, images=1)"
    )
