"""The benchmark counts what it says, and times in turns."""

import json

import pytest
import torch

from naslora_core.__main__ import main
from naslora_core.adapters import adapt
from naslora_workbook.publishing import result_tables
from naslora_workbook.research.benchmarks import method_costs
from naslora_workbook.research.benchmarks.measurement import (
    interleaved,
    saved_mb,
    summary,
)
from naslora_workbook.research.benchmarks.method_costs import (
    FLOOR,
    FOLDED,
    VANILLA,
    measure,
    measure_folded,
)
from naslora_workbook.research.benchmarks.method_costs import folded as folded_encoder
from naslora_workbook.research.methods import METHODS


def test_turns_are_taken_and_the_first_is_not_counted():
    order = []
    work = {name: lambda name=name: order.append(name) for name in "ab"}
    times = interleaved(work, rounds=3)
    assert order == ["a", "b"] * 4 and {len(t) for t in times.values()} == {3}


def test_ratios_are_of_each_turns_pair():
    found = summary([2.0, 9.0, 4.0], [1.0, 3.0, 4.0])
    assert found == {"ms": 4.0, "ratio": 2.0, "spread": [1.0, 3.0]}


def test_saved_bytes_of_a_layer_whose_answer_is_known():
    layer = torch.nn.Sequential(torch.nn.Linear(256, 512, bias=False), torch.nn.ReLU())
    x = torch.randn(64, 256)
    # the weight's gradient needs x (the input, not counted), ReLU's needs its own output
    assert saved_mb(layer, x) == round(64 * 512 * 4 / 2**20, 3)


@pytest.fixture(scope="module")
def rows():
    return measure("nano", ["lora", "lst", "nas_lora", "decoder_only"], rounds=1, batch=1)


@pytest.fixture(scope="module")
def folded():
    return measure_folded("nano", rounds=1, batch=1)


def test_folded_encoders_are_timed_beside_the_vanilla_one(folded):
    assert list(folded) == [VANILLA, *FOLDED]
    assert folded[VANILLA]["inference_ratio"] == 1
    for row in folded.values():
        low, high = row["inference_spread"]
        assert 0 < low <= row["inference_ratio"] <= high and row["inference_ms"] > 0
    rank, d = 4, 160
    macs = [6 * (rank * 4 * d + taps * rank**2) for taps in (8, 24, 24)]
    assert [row["side_macs"] for row in folded.values()] == [0, 0, *macs]


def test_a_pointwise_fold_is_made_of_the_vanilla_modules():
    encoder = method_costs.build("nano").image_encoder
    kinds = [type(m) for m in encoder.modules()]
    pointwise, beside = (
        folded_encoder(encoder, FOLDED[n])[0] for n in ("pointwise", "5x5 on the map")
    )
    assert [type(m) for m in pointwise.modules()] == kinds
    assert len([m for m in beside.modules() if getattr(m, "windows", None)]) == 4
    assert not torch.equal(pointwise.blocks[0].attn.qkv.weight, encoder.blocks[0].attn.qkv.weight)


def test_a_row_for_every_method_and_the_floor(rows):
    assert list(rows) == [FLOOR, "lora", "lst", "nas_lora", "decoder_only"]
    assert rows["lora"]["step_ratio"] == rows["lora"]["inference_ratio"] == 1
    for name in list(rows)[1:]:
        model = adapt(method_costs.build("nano"), METHODS[name])
        inside = [p for n, p in model.trainable().items() if "image_encoder" in n]
        assert rows[name]["parameters"] == sum(p.numel() for p in inside)


def test_memory_for_backward_is_ordered_as_the_methods_promise(rows):
    assert rows["decoder_only"]["saved_mb"] == 0
    assert rows["lst"]["saved_mb"] < rows["lora"]["saved_mb"] / 2
    assert rows[FLOOR]["saved_mb"] < rows["lora"]["saved_mb"] < rows["nas_lora"]["saved_mb"]


def test_the_command_keeps_its_rows_and_names_unknown_methods(
    tmp_path, monkeypatch, capsys, rows, folded
):
    monkeypatch.setattr(method_costs, "measure", lambda *a: rows)
    monkeypatch.setattr(method_costs, "measure_folded", lambda *a: folded)
    out = tmp_path / "bench.json"
    assert not main(["bench", "--methods", "lst", "--rounds", "1", "--out", str(out)])
    assert '"saved_mb"' in out.read_text() and '"device"' in out.read_text()
    table = result_tables.cost_table(json.loads(out.read_text())).splitlines()
    rows = [line for line in table if line.startswith("| L")]
    assert rows[0].startswith("| LoRA | 15,360 | ") and rows[0].endswith(" | yes | everything |")
    assert rows[1].startswith("| LST | ") and rows[1].endswith(" | yes | nothing |")
    assert rows[2].startswith("| LoRA | 1.00 | ") and rows[3].startswith("| LST | ")
    said = capsys.readouterr().out
    assert "saved_mb" in said and "side_macs" in said and "5x5 on the map" in said
    assert '"folded"' in out.read_text()
    assert main(["bench", "--methods", "lorra"]) == 2
    assert "lorra" in capsys.readouterr().err
    assert next(iter(method_costs.SIZES)) == "nano"
