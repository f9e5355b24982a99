"""Variants are methods with one setting changed, by name, comparable and labelled."""

import dataclasses
import json

import pytest
import torch
from adapting import random_images, shaken, small_sam
from tiny import tiny_data, tiny_sam

from naslora_core.adapters import adapt, cells, fold, load_adapter, save_adapter
from naslora_core.search import OPERATOR_SETS
from naslora_workbook.research.compare import KNOWN, Setting, compare
from naslora_workbook.research.methods import METHODS
from naslora_workbook.research.variants import VARIANTS
from naslora_workbook.results.labels import LABELS

every = pytest.mark.parametrize("name", VARIANTS)
BASE = {"FixedConv": "fixed_conv", "NASLoRA": "nas_lora"}


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def test_names_are_new_and_labelled():
    assert not VARIANTS.keys() & METHODS.keys()
    assert LABELS.keys() == {"base_boxed", *KNOWN}
    assert len(set(LABELS.values())) == len(LABELS)
    singles = [n.removeprefix("single_") for n in VARIANTS if n.startswith("single_")]
    assert singles == list(OPERATOR_SETS["linear"])


@every
def test_a_variant_is_its_method_with_little_changed(name):
    variant = VARIANTS[name]
    base = dataclasses.asdict(METHODS[BASE[type(variant).__name__]])
    changed = {k for k, v in dataclasses.asdict(variant).items() if base[k] != v}
    assert 1 <= len(changed) <= 2 and "rank" not in changed


@every
def test_it_starts_as_the_base_is_filed_and_folds_or_says_why_not(sam, tmp_path, name):
    model, images = adapt(sam, VARIANTS[name], seed=1), random_images(1)
    with torch.no_grad():
        assert torch.equal(model.encode(images), sam.image_encoder(images))
        wanted = shaken(model).encode(images)
        again = load_adapter(sam, save_adapter(model, tmp_path / "a.safetensors"))
        assert again.method == VARIANTS[name]
        assert torch.equal(again.encode(images), wanted)
        folded = fold(model)
        assert (folded.model.encode(images) - wanted).abs().max() < 1e-3
    stays = "nothing" in {r.folded for r in folded.report.rows}
    assert stays == (name in ("nas_darts", "nas_wide"))


def test_a_comparison_takes_them_and_the_fixed_ones_never_move_alpha(quick_ceiling, tmp_path):
    methods = ["nas_uniform", "single_conv_5x5", "fixed_map"]
    setting = Setting(steps=4, batch=2, split="val")
    records = compare(tiny_sam(), tiny_data(), methods, [0], tmp_path, setting, "a command")
    assert [r["method"] for r in records] == ["base_boxed", *methods]
    path = tmp_path / "squares-val-nas_uniform-0.002-0.json"
    blocks = json.loads(path.read_text())["genotype"]["blocks"]
    assert {p for b in blocks for p in b["alpha"]} == {0.0}
    sizes = {r["method"]: r["trained_parameters"] for r in records[1:]}
    assert sizes["fixed_map"] < sizes["single_conv_5x5"] < sizes["nas_uniform"]


def test_a_single_operator_beside_a_skip_is_the_operator(sam):
    model = shaken(adapt(sam, VARIANTS["single_conv_3x3"]))
    for cell in cells(model).values():
        eye = torch.eye(4)[..., None, None]
        kernel = cell.operators[0].weight.clone()
        kernel[..., 1:2, 1:2] += eye
        assert torch.allclose(cell.kernel(), kernel) and cell.probabilities() == 1
