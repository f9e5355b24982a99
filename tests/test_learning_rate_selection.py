"""Learning rates are chosen by trials that never saw what is scored afterwards."""

import json

import pytest

from naslora_core.errors import UserError
from naslora_workbook.research import preregistration as registry
from naslora_workbook.research.learning_rate_selection import best_rates, tried


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


def test_every_registered_method_had_the_trials_that_its_protocol_names():
    protocol = registry.read()
    trials = tried(*protocol.rates)
    assert all(set(trials[method]) >= set(protocol.trials) for method in protocol.methods)
    places = {pair for method in trials.values() for found in method.values() for pair in found}
    assert not {d for d, _ in places} & set(protocol.test)
    assert not {seed for _, seed in places} & set(protocol.seeds)
