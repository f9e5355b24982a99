"""The table for a GPU runs as it is on a CPU, at a tiny size, and goes on where it stopped."""

import json

import pytest
import torch

from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_workbook.cli import build_parser
from naslora_workbook.research.benchmarks import gpu_steps
from naslora_workbook.research.benchmarks.gpu_steps import COMPARED, Leg, legs, measured, removed


def call(*words) -> None:
    arguments = build_parser().parse_args(["gpu-table", *map(str, words)])
    arguments.run(arguments)


TINY = ["--sizes", "nano", "--batches", 1, "--rounds", 1, "--device", "cpu"]


def test_the_settings_are_those_of_the_table():
    found = list(legs(["vit_b_1024"], [1, 2, 4]))
    assert len(found) == len({leg.name for leg in found}) == 3 * (3 * len(COMPARED) + 2)
    assert {(leg.fast, leg.compiled) for leg in found} == {(1, 0), (1, 1), (0, 0)}
    assert {leg.method for leg in found if leg.files} == {"lora", "nas_lora"}


def test_settings_are_kept_and_those_done_are_skipped(tmp_path, capsys, monkeypatch):
    asked = [leg for leg in legs(["nano"], [1]) if leg.method == "nas_lora" and not leg.compiled]
    records = gpu_steps.run(asked, tmp_path, "command", "cpu", rounds=2)
    said = capsys.readouterr().out
    assert {p.stem for p in tmp_path.iterdir()} == {leg.name for leg in asked} and len(asked) == 3
    monkeypatch.setattr(gpu_steps, "measured", None)  # nothing is measured twice
    assert gpu_steps.run(asked, tmp_path, "command", "cpu", rounds=2) == records
    assert capsys.readouterr().out == said
    on_card, from_files, _ = records
    assert on_card["ms"] > 0 and on_card["provenance"]["device"]
    assert on_card["images_per_second"] == pytest.approx(1000 / on_card["ms"], rel=0.01)
    assert from_files["leg"]["files"] and from_files["ms"] > 0 and from_files["ratio"] > 0


def test_no_setting_begins_after_the_minutes(tmp_path):
    assert gpu_steps.run([Leg("nano", "lora", 1)], tmp_path, "", "cpu", minutes=0) == []


def test_a_compiled_encoder_is_asked_of_torch(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module)))
    sam = build_nano().eval().requires_grad_(False)
    gpu_steps._stepping(sam, "lora", Leg("nano", "lora", 1, compiled=True), "cpu")
    assert [kind.__name__ for kind in compiled] == ["ImageEncoderViT"]


def test_memory_running_out_is_a_row_and_not_the_end(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(gpu_steps, "_measured", full)
    assert measured(Leg("nano", "lora", 1), "cpu", 1) == {"out_of_memory": True}
    told = gpu_steps.line({"leg": vars(Leg("nano", "lora", 1)), "out_of_memory": True})
    assert told.endswith("out_of_memory True")


def test_the_share_removed_is_of_the_overhead_over_lora():
    def row(method, ratio):
        return {"leg": vars(Leg("vit_b_1024", method, 2)), "ratio": ratio}

    rows = [row("conv_lora_released", 2.0), row("conv_lora", 1.2), row("nas_lora", 1.1)]
    assert list(removed(rows).values()) == [0.9]
    assert list(removed(rows, released=False).values()) == [0.5]


def test_nonsense_is_refused(tmp_path):
    with pytest.raises(UserError, match="'vit_z'; choose one of nano"):
        call("--sizes", "vit_z", "--device", "cpu")
    with pytest.raises(UserError, match="lorra"):
        call(*TINY, "--methods", "lorra")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA device here.*--device cpu"):
            call("--out", tmp_path)


@pytest.mark.gpu
def test_a_leg_on_a_gpu(tmp_path):
    words = ["--sizes", "nano", "--batches", 2, "--rounds", 2, "--out", tmp_path]
    call(*words, "--methods", "nas_lora")
    rows = [json.loads(p.read_text()) for p in tmp_path.iterdir()]
    assert len(rows) == 4 and all(r["ms"] > 0 and r["ratio"] > 0 for r in rows)
