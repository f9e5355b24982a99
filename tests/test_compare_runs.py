"""What a run of a comparison is made of: all that its command says reaches training and scores."""

import inspect
import sys

import numpy as np
import pytest
import torch
from tiny import tiny_data, tiny_sam

from naslora_core.adapters import DecoderOnly, adapt
from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_core.search import OPERATOR_SETS
from naslora_core.training.ceilings import shrunk_iou
from naslora_core.training.early_stopping import VALIDATION_DICE, EarlyStopping
from naslora_core.training.evaluation import Scores
from naslora_core.training.fitting import FitResult
from naslora_workbook.cli import build_parser
from naslora_workbook.lessons.profiles import profile
from naslora_workbook.research.compare import LOOKED_AT, RANDOM, Setting, compare
from naslora_workbook.research.methods import METHODS
from naslora_workbook.research.provenance import command_line
from naslora_workbook.research.unet import width_for
from naslora_workbook.research.variants import VARIANTS

MODULE = sys.modules["naslora_workbook.research.compare"]
DICE, IOU = np.array([0.1, 0.2, 0.3, 0.6]), np.array([0.5, 0.6, 0.7, 1.0])
HISTORY = [{"step": i, "loss": i / 10, "seconds": i} for i in (1, 2, 3)]
HISTORY[1][VALIDATION_DICE] = 0.4
pytestmark = pytest.mark.usefixtures("quick_ceiling")


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.fixture
def told(monkeypatch):
    """What `fit` and `evaluate` were given, by their parameters' names; neither runs."""
    calls = {"fit": [], "evaluate": []}

    def listen(name, answer):
        signature = inspect.signature(getattr(MODULE, name))

        def heard(*given, **named):
            calls[name].append(signature.bind(*given, **named).arguments)
            return answer(calls[name][-1])

        monkeypatch.setattr(MODULE, name, heard)

    listen("fit", lambda a: FitResult(a["model"], None, HISTORY, 7.25))
    listen("evaluate", lambda a: Scores([s.name for s in a["samples"]], DICE, IOU, []))
    return calls


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_run_trains_and_scores_as_it_was_asked(sam, tmp_path, told, split):
    data = tiny_data(classes=2)
    setting = Setting(3, 2, 1e-3, "joint", split, "bf16", looks=2)
    base, record = compare(sam, data, ["lora"], [5], tmp_path, setting, "")
    model, samples = told["fit"][0]["model"], getattr(data, split)
    assert told["fit"] == [
        {"model": model, "data": data, "schedule": "joint", "steps": 3, "batch": 2, "lr": 1e-3}
        | {"seed": 5, "precision": "bf16", "early_stopping": EarlyStopping(2, images=LOOKED_AT)}
    ]
    boxed = {"model": sam, "samples": samples, "prompt": "box", "classes": 2}
    without = {"model": model, "samples": samples, "prompt": None, "classes": 2, "batch": 2}
    assert told["evaluate"] == [boxed, without] and model.method == METHODS["lora"]
    shrunk = [shrunk_iou(s.mask == c, 32) for s in samples for c in np.unique(s.mask[s.mask > 0])]
    for found in (base, record):
        assert found["mean"] == {"dice": 0.3, "iou": 0.7}
        assert list(found["images"]) == [f"{split}{i}" for i in range(4)]
        assert list(found["images"].values()) == [[0.1, 0.5], [0.2, 0.6], [0.3, 0.7], [0.6, 1.0]]
        assert found["ceiling_iou"] == pytest.approx(np.mean(shrunk), abs=1e-4)
    assert "loss" not in record and record["looks"] == [[2, 0.4, 2]]
    assert record["adapter"]["name"] == "LoRA" and record["adapter"]["rank"] == 4
    assert record["setting"] == vars(setting) and record["training_seconds"] == 7.2


def test_without_looks_nothing_watches(sam, tmp_path, told):
    _, record = compare(sam, tiny_data(), ["lora"], [0], tmp_path, Setting(3, 2), "")
    assert told["fit"][0]["early_stopping"] is None and "looks" not in record


@pytest.mark.parametrize("method", ["lora", "nas_lora", "unet"])
def test_a_seed_decides_where_a_run_starts(sam, tmp_path, told, method):
    for folder, seeds in (("a", [5, 6]), ("b", [5])):
        compare(sam, tiny_data(), [method], seeds, tmp_path / folder, Setting(3, 2), "")
    five, six, again = ([*a["model"].trainable().values()] for a in told["fit"])
    assert all(map(torch.equal, five, again)) and not all(map(torch.equal, five, six))
    assert [a["seed"] for a in told["fit"]] == [5, 6, 5]


def test_runs_of_a_tile_and_of_a_head_are_kept_apart(sam, tmp_path, told):
    ways = [{}, {"tile": 64}, {"tile": 96}, {"tile": 64, "head": "matched"}]
    for way in ways:
        compare(sam, tiny_data(), ["lora"], [5], tmp_path, Setting(3, 2, **way), "")
    models = [call["model"] for call in told["fit"]]
    assert [model.tile for model in models] == [None, 64, 96, 64]
    assert [hasattr(model.head, "classify") for model in models] == [False, False, False, True]
    assert len(list(tmp_path.glob("*-lora-*"))) == len(ways)
    for way in ways[1:]:
        with pytest.raises(UserError, match="unet"):
            compare(sam, tiny_data(), ["unet"], [5], tmp_path, Setting(3, 2, **way), "")


def test_a_random_operator_is_drawn_by_the_seed(sam, tmp_path, told):
    compare(sam, tiny_data(), [RANDOM], range(5), tmp_path, Setting(3, 2), "")
    names = [np.random.default_rng(s).choice(OPERATOR_SETS["linear"]) for s in range(5)]
    assert len(set(names)) > 1
    assert [a["model"].method for a in told["fit"]] == [VARIANTS[f"single_{n}"] for n in names]


def test_the_u_net_is_as_large_as_what_the_decoder_alone_trains(tmp_path, told):
    sam = build_nano().eval()  # in a smaller one a step of the width is too large
    compare(sam, tiny_data(classes=2), ["unet"], [5], tmp_path, Setting(3, 2), "")
    decoder = sum(p.numel() for p in adapt(sam, DecoderOnly(), 2).trainable().values())
    unet = told["fit"][0]["model"]
    assert (unet.method.width, unet.classes) == (width_for(decoder, 2), 2)
    assert 0.7 < sum(p.numel() for p in unet.parameters()) / decoder < 1.4


HOMES = {  # from where the command imports what it calls
    "known_device": "naslora_core.training.devices",
    "load_sam": "naslora_core.sam",
    "open_data": "naslora_core.data",
    "best_rates": "naslora_workbook.research.learning_rate_selection",
    "compare": "naslora_workbook.research.compare",
    "command_line": "naslora_workbook.research.provenance",
}


def test_every_option_of_the_command_arrives(sam, monkeypatch, capsys):
    opened, ran, asked = [], [], {}
    dice = {"lora": 0.5, "unet": 0.75}
    rows = [{"method": m, "seed": 7, "mean": {"dice": d}} for m, d in dice.items()]
    stand_ins = {
        "known_device": lambda name: asked.update(device=name) or "cpu",
        "load_sam": lambda *which: asked.update(which=which) or sam,
        "best_rates": lambda folder: asked.update(tried=folder) or {"lora": 1e-2},
        "open_data": lambda *given, **named: opened.append((*given, named)) or given[0],
        "compare": lambda *given: ran.append(given) or rows,
        "command_line": lambda: "these words",
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(f"{HOMES[name]}.{name}", stand_in)
    words = "compare one two --methods lora unet --seeds 7 8 --steps 3 --batch 2 --lr 1e-3 3e-3 "
    words += "--rates tried --precision bf16 --schedule joint --split val --looks 5 --model vit_b "
    words += "--checkpoint my.pth --groups ^(a) --device gpu7 --out there --tile 96 --head matched"
    arguments = build_parser().parse_args(words.split())
    arguments.run(arguments)
    assert asked == {"device": "gpu7", "which": ("vit_b", "my.pth"), "tried": "tried"}
    assert opened == [(n, profile("laptop"), {"groups": "^(a)"}) for n in ("one", "two")]
    assert [(*given[1:4], str(given[4]), *given[5:]) for given in ran] == [
        (name, ["lora", "unet"], [7, 8], "there", setting, "these words", {"lora": 1e-2})
        for name in ("one", "two")
        for lr in (1e-3, 3e-3)
        for setting in [Setting(3, 2, lr, "joint", "val", "bf16", 5, 96, "matched")]
    ]
    assert all(given[0] is sam for given in ran)
    assert capsys.readouterr().out.count("unet - lora, dice by seed: +0.250; mean +0.250") == 4


def test_without_trials_the_command_hands_no_rates(sam, monkeypatch):
    ran = []
    monkeypatch.setattr(f"{HOMES['load_sam']}.load_sam", lambda *_: sam)
    monkeypatch.setattr(f"{HOMES['compare']}.compare", lambda *given: ran.append(given) or [])
    arguments = build_parser().parse_args(["compare", "polyp", "--methods", "lora"])
    arguments.run(arguments)
    assert [given[5:] for given in ran] == [(Setting(), command_line(), None)]
