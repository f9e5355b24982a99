"""Validation while training: the best is kept, and a run stops when nothing improves."""

import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_data, tiny_sam

from naslora_core.adapters import LoRA, NASLoRA, adapt, load_adapter
from naslora_core.errors import UserError
from naslora_core.sam import load_sam
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
    return tiny_sam()


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
    marks, asked, states = iter((0.2, 0.6, 0.4, 0.1)), [], []

    def marked(model, samples, **how):
        asked.append(([s.name for s in samples], how))
        states.append({k: v.detach().clone() for k, v in model.adapter_state_dict().items()})
        return SimpleNamespace(mean={"dice": next(marks)})

    monkeypatch.setattr(SCORING, "evaluate", marked)
    model = adapt(sam, LoRA(rank=2))
    how = {"early_stopping": EarlyStopping(2, images=3), "accumulate": 2} | QUIET
    result = fit(model, tiny_data(), steps=7, out=tmp_path, **how)
    scores = {e["step"]: e[VALIDATION_DICE] for e in result.history if VALIDATION_DICE in e}
    assert scores == {2: 0.2, 4: 0.6, 6: 0.4, 7: 0.1}  # the last step is validated, too
    given = {"classes": 1, "batch": 1, "keep_masks": False}
    assert asked == 4 * [(["val0", "val1", "val2"], given)]
    best_file, last_file = (load_file(tmp_path / f"{n}.safetensors") for n in ("best", "last"))
    returned = result.model.adapter_state_dict()
    for found, wanted in ((best_file, states[1]), (returned, states[1]), (last_file, states[3])):
        assert all(torch.equal(found[k], v) for k, v in wanted.items())
    for other in (states[0], states[2], last_file):
        assert any(not torch.equal(best_file[k], v) for k, v in other.items())


@pytest.mark.parametrize("method", [LoRA(rank=2), NASLoRA(rank=2, blocks=(1,))])
def test_the_best_model_comes_back_without_a_folder_and_its_genotype_with_it(
    sam, monkeypatch, method
):
    scores, states = iter((0.9, 0.2, 0.1)), []

    def score(self, model, data, *_):
        states.append({k: v.detach().clone() for k, v in model.adapter_state_dict().items()})
        return {VALIDATION_DICE: next(scores)}

    monkeypatch.setattr(EarlyStopping, "validate", score)
    how = {"steps": 3, "schedule": "joint", "early_stopping": EarlyStopping(1)} | QUIET
    result = fit(adapt(sam, method), tiny_data(), **how)
    found = result.model.adapter_state_dict()
    assert all(torch.equal(found[k], v) for k, v in states[0].items())
    assert any(not torch.equal(found[k], v) for k, v in states[2].items())
    if result.genotype:
        wanted = [states[0][k].tolist() for k in states[0] if k.endswith("arch_alpha")]
        assert [b.alpha for b in result.genotype.blocks] == wanted


def test_a_run_that_was_cut_or_had_ended_gives_its_best_again(sam, tmp_path, monkeypatch):
    table = {1: 0.3, 2: 0.8, 3: 0.5, 4: 0.4}

    def score(self, model, data, step, *_):
        return {VALIDATION_DICE: table[step]}

    def cut(event):
        if event["step"] == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(EarlyStopping, "validate", score)
    how = {"steps": 4, "early_stopping": EarlyStopping(1), "save_every_seconds": 0} | QUIET
    whole = fit(adapt(sam, LoRA(rank=2)), tiny_data(), **how).model.adapter_state_dict()
    with pytest.raises(KeyboardInterrupt):
        fit(adapt(sam, LoRA(rank=2)), tiny_data(), out=tmp_path, on_event=cut, **how)
    for _ in range(2):  # resumed, and called once more when it had ended
        again = fit(adapt(sam, LoRA(rank=2)), tiny_data(), out=tmp_path, **how).model
        assert all(torch.equal(whole[k], v) for k, v in again.adapter_state_dict().items())


@pytest.mark.parametrize("settings", [EarlyStopping(50), EarlyStopping(3, patience=2)])
def test_a_run_shorter_than_the_interval_has_a_best_model(sam, tmp_path, settings):
    how = {"early_stopping": settings, "out": tmp_path, "steps": 2} | QUIET
    result = fit(adapt(sam, LoRA(rank=2)), tiny_data(), **how)
    assert (tmp_path / "best.safetensors").exists() and VALIDATION_DICE in result.history[-1]


@pytest.mark.parametrize("images, seen", [(None, 4), (9, 4), (1, 1)])
def test_a_validation_takes_as_many_images_as_it_may(sam, monkeypatch, images, seen):
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


def test_a_run_without_progress_stops_and_stays_stopped(sam, tmp_path, monkeypatch):
    values = iter((0.5, 0.4, 0.3, 0.9))
    monkeypatch.setattr(EarlyStopping, "validate", lambda *_: {VALIDATION_DICE: next(values)})
    settings = {"steps": 8, "out": tmp_path, "early_stopping": EarlyStopping(1, 2)} | QUIET
    assert len(fit(adapt(sam, LoRA(rank=2)), tiny_data(), **settings).history) == 3
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 3
    assert len(fit(adapt(sam, LoRA(rank=2)), tiny_data(), **settings).history) == 3


def test_validating_changes_nothing(sam, tmp_path):
    for name, early_stopping in (("blind", None), ("watched", EarlyStopping(1, images=1))):
        model = adapt(sam, NASLoRA(rank=2))
        fit(
            model, tiny_data(), steps=4, out=tmp_path / name, early_stopping=early_stopping, **QUIET
        )
    a, b = (load_file(tmp_path / n / "last.safetensors") for n in ("blind", "watched"))
    assert all(torch.equal(a[k], b[k]) for k in a)
