"""Learning rates are chosen by trials that never saw what is scored afterwards."""

import json
from dataclasses import replace

import pytest

from naslora_core.errors import UserError
from naslora_workbook.research import preregistration as registry
from naslora_workbook.research.learning_rate_selection import best_rates, even_rates, tried


def trial(folder, lr, iou, data="a", seed=9, split="val", method="lora"):
    """Leave the record of a trial in the folder."""
    record = {"data": data, "method": method, "seed": seed, "setting": {"split": split, "lr": lr}}
    path = folder / f"{data}-{split}-{method}-{lr}-{seed}.json"
    path.write_text(json.dumps(record | {"mean": {"iou": iou}}))


def test_a_method_takes_the_rate_that_did_best_in_trials(tmp_path):
    for lr, data, iou in ((1e-3, "a", 0.5), (1e-3, "b", 0.1), (3e-3, "a", 0.4), (3e-3, "b", 0.3)):
        trial(tmp_path, lr, iou, data)
    assert best_rates(tmp_path) == {"lora": 3e-3}
    trial(tmp_path, 1e-2, 0.9, "a")
    with pytest.raises(UserError, match="lora.*different data"):
        best_rates(tmp_path)


def test_every_method_and_seed_counts_for_itself(tmp_path):
    for lr, seed, iou in ((1e-3, 8, 0.5), (1e-3, 9, 0.1), (3e-3, 8, 0.4), (3e-3, 9, 0.3)):
        trial(tmp_path, lr, iou, seed=seed)
        trial(tmp_path, lr, -iou, seed=seed, method="unet")
    trial(tmp_path, 1.0, 0.9, method="base_boxed", split="test")  # it has no rate
    assert best_rates(tmp_path) == {"lora": 3e-3, "unet": 1e-3}
    trial(tmp_path, 1e-2, 0.9, seed=8)
    with pytest.raises(UserError, match="lora.*different data or seeds"):
        best_rates(tmp_path)


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_rate_is_never_chosen_on_images_that_are_not_for_validation(tmp_path, split):
    trial(tmp_path, 1e-3, 0.5)
    trial(tmp_path, 3e-3, 0.9, split=split)
    for read in (best_rates, tried):
        with pytest.raises(UserError, match=f"lora on a, scored on its {split} images.*--split va"):
            read(tmp_path)


@pytest.mark.parametrize(
    "place",
    [{"data": "vessel"}, {"data": "mars"}, {"seed": 0}],
    ids=["a test domain", "one that is not registered", "a registered seed"],
)
def test_a_registered_comparison_takes_no_trial_of_what_it_judges(tmp_path, place):
    protocol = replace(
        registry.read(),
        folder=tmp_path,
        rates=("tried",),
        trials=(1e-3, 3e-3),
        methods=("lora",),
        subject="lora",
    )
    (tmp_path / "tried").mkdir()
    for lr, iou in ((1e-3, 0.5), (3e-3, 0.4)):
        trial(tmp_path / "tried", lr, iou, "camouflage", 100)
    assert registry._rates(protocol) == {"lora": 1e-3}
    assert "vessel" in protocol.test and 0 in protocol.seeds
    for lr, iou in ((1e-3, 0.1), (3e-3, 0.9)):
        trial(tmp_path / "tried", lr, iou, **{"data": "camouflage", "seed": 100} | place)
    with pytest.raises(UserError, match=f"was tried on {place.get('data', 'camouflage')}, seed"):
        registry._rates(protocol)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"method": "lora", "lr": 5e-3},
            "lora was tried with .* 0.001 0.003 0.005 .*expected 0.001",
        ),
        ({"method": "unet", "lr": 1e-3}, "unet was tried with .* 0.001 in"),
        (
            {"method": "unet", "lr": None},
            "unet was tried on camouflage seed 101, lora on .* seed 100",
        ),
    ],
    ids=["one rate more", "one rate less", "another seed"],
)
def test_methods_of_a_comparison_had_equal_trials(tmp_path, more, told):
    for lr in (1e-3, 3e-3):
        trial(tmp_path, lr, lr, "camouflage", 100)
    for lr in [more["lr"]] if more["lr"] else (1e-3, 3e-3):
        seed = 100 if more["lr"] else 101
        trial(tmp_path, lr, 0.5, "camouflage", seed, method=more["method"])
    methods = dict.fromkeys(("lora", more["method"]))
    with pytest.raises(UserError, match=told):
        even_rates([tmp_path], list(methods), (1e-3, 3e-3), ("camouflage",), (0,))


def test_the_package_chose_its_own_rates_by_this_rule():
    protocol = registry.read()
    rates = registry._rates(protocol)
    assert set(rates) >= set(protocol.methods) and set(rates.values()) <= set(protocol.trials)
