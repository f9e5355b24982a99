"""`fit` by the shell: every option reaches the training, and the best adapter is told of."""

import inspect
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import ANY

import pytest
from own import call
from tiny import tiny_data

from naslora_core.cli import fit_command as own_images
from naslora_core.search import Genotype, set_hash
from naslora_core.training.early_stopping import VALIDATION_DICE, EarlyStopping
from naslora_core.training.fitting import FitResult
from naslora_workbook.research.methods import METHODS

DATA, FABRIC = tiny_data(classes=3), SimpleNamespace(is_global_zero=True)
ANSWERS = {"launch": FABRIC, "open_data": DATA, "load_sam": "a SAM", "adapt": "a model"}
WORDS = (
    "--method nas_lora --set rank=2 --set scale=0.5 --model vit_b --checkpoint my.pth "
    "--groups ^(a) --steps 7 --batch 6 --accumulate 3 --lr 3e-4 --seed 5 --schedule bilevel "
    "--loss balanced_bce --precision bf16 --checkpointing --augment full --resize pad "
    "--head matched --validate-every 9 --patience 4 --cache kept --workers 2 --genotype-images 3 "
    "--devices 2 --device cuda --quiet"
)


@pytest.fixture
def asked(monkeypatch):
    """The arguments of each function that `fit` calls, by their names there; nothing is trained."""
    found = {}

    def stand_in(name, answer):
        names = inspect.signature(getattr(own_images, name))

        def note(*given, **named):
            found[name] = dict(names.bind(*given, **named).arguments)
            return answer

        monkeypatch.setattr(own_images, name, note)

    monkeypatch.setattr(own_images, "_show_worst", lambda *_: None)
    dice = [{VALIDATION_DICE: 0.25}, {}, {VALIDATION_DICE: 0.75}, {VALIDATION_DICE: 0.5}]
    history = [{"step": n, "loss": 1.0} | part for n, part in enumerate(dice, 1)]
    found_by = Genotype(["skip"], set_hash(["skip"]), [], "parallel", "bilevel", "squares", 5)
    for name, answer in (ANSWERS | {"train": FitResult(None, found_by, history, 12.3)}).items():
        stand_in(name, answer)
    return found


def test_every_option_reaches_what_it_is_for(asked, tmp_path):
    call("fit", "my_images", *WORDS.split(), "--out", tmp_path)
    method = replace(METHODS["nas_lora"], rank=2, scale=0.5)
    assert asked == {
        "launch": {"devices": 2, "precision": "bf16", "accelerator": "cuda"},
        "open_data": {
            "name": "my_images", "groups": "^(a)", "how": {"progress": False, "once": ANY},
        },
        "load_sam": {"name": "vit_b", "checkpoint": "my.pth"},
        "adapt": {
            "sam": "a SAM", "method": method, "classes": 3, "seed": 5, "head": "matched",
            "resize": "pad", "tile": None, "tile_objects": 0.5,
        },
        "train": {
            "model": "a model", "data": DATA, "schedule": "bilevel", "steps": 7, "batch": 6,
            "lr": 3e-4, "seed": 5, "out": tmp_path, "progress": False, "precision": "bf16",
            "loss": "balanced_bce", "accumulate": 3, "checkpointing": True,
            "early_stopping": EarlyStopping(9, 4), "augment": "full", "fabric": FABRIC,
            "cache": "kept", "workers": 2, "genotype_images": 3, "on_event": ANY,
        },
    }  # fmt: skip


def test_without_options_a_folder_is_named_and_nothing_is_cached(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("build/fit/squares-sam_nano-nas_lora-0").mkdir(parents=True)
    call("fit", "my_images")
    wanted = {
        "progress": True,
        "early_stopping": EarlyStopping(50),
        "cache": None,
        "checkpointing": False,
    }
    wanted |= {"out": Path("build/fit/squares-sam_nano-nas_lora-0")}
    assert {k: asked["train"][k] for k in wanted} == wanted


def test_the_best_look_its_adapter_and_the_operators_are_told(asked, tmp_path, capsys):
    call("fit", "my_images", *WORDS.split(), "--out", tmp_path)
    said, told = capsys.readouterr().out.split("Next: naslora ")
    assert "Validation Dice: best 0.750 (validation 2 of 3)." in said and said.endswith("12 s. ")
    assert Genotype.load(tmp_path / "genotype.json").operators == ["skip"]
    words = ["evaluate", "my_images", str(tmp_path / "best.safetensors"), "--groups", "^(a)"]
    assert shlex.split(told) == [*words, "--checkpoint", "my.pth"]


def test_another_process_than_the_first_tells_nothing(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(FABRIC, "is_global_zero", False)
    call("fit", "my_images", "--method", "lora", "--out", tmp_path)
    assert not capsys.readouterr().out and not list(tmp_path.iterdir())
