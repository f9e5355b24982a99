"""The table for a GPU runs as it is on a CPU, at a tiny size, and goes on where it stopped."""

import json

import pytest
import torch

from naslora_core.cli import build_parser
from naslora_core.errors import UserError
from naslora_workbook.research import gpu_table
from naslora_workbook.research.gpu_table import COMPARED, Leg, legs, measured, removed


def call(*words) -> None:
    arguments = build_parser().parse_args(["gpu-table", *map(str, words)])
    arguments.run(arguments)


TINY = ["--sizes", "nano", "--batches", 1, "--rounds", 1, "--device", "cpu"]


def test_the_legs_are_those_of_the_table():
    found = list(legs(["vit_b_1024", "vit_h_1024"], [2, 4]))
    assert len(found) == len({leg.name for leg in found}) == 2 * (2 * len(COMPARED) + 2) + 2 * 2
    large = [leg for leg in found if leg.size == "vit_h_1024"]
    assert {leg.method for leg in large} == {"nas_lora"}
    assert {leg.method for leg in found if leg.kept} == {"decoder_only", "nas_lora_late"}
    assert all(leg.fast for leg in found if leg.kept)


def test_legs_are_kept_and_those_done_are_skipped(tmp_path, capsys, monkeypatch):
    words = [*TINY, "--methods", "nas_lora_late", "decoder_only", "--out", tmp_path]
    call(*words)
    said = capsys.readouterr().out
    assert {p.stem for p in tmp_path.iterdir()} == {
        "nano-decoder_only-b1-fast-bf16",
        "nano-decoder_only-b1-official-bf16",
        "nano-decoder_only-b1-fast-cache-bf16",
        "nano-nas_lora_late-b1-fast-cache-bf16",
    }
    monkeypatch.setattr(gpu_table, "measured", None)  # nothing is measured twice
    call(*words)
    assert capsys.readouterr().out == said
    with pytest.raises(UserError, match="in 1 rounds on .*, this run asks for 2 on"):
        call(*words, "--rounds", 2)
    record = json.loads((tmp_path / "nano-nas_lora_late-b1-fast-cache-bf16.json").read_text())
    assert record["peak_mb"] > 0 and record["ms"] > 0 and record["provenance"]["device"]
    assert record["images_per_second"] == pytest.approx(1000 / record["ms"], rel=0.01)


def test_memory_running_out_is_a_row_and_not_the_end(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(gpu_table, "_measured", full)
    assert measured(Leg("nano", "lora", 1), "cpu", 1) == {"out_of_memory": True}
    told = gpu_table.line({"leg": vars(Leg("nano", "lora", 1)), "out_of_memory": True})
    assert told.endswith("out of memory")


def test_a_method_that_fits_has_its_row_where_lora_does_not(monkeypatch):
    stepping = gpu_table._stepping

    def full(sam, method, *rest):
        if method == "lora":
            raise torch.OutOfMemoryError("no more")
        return stepping(sam, method, *rest)

    monkeypatch.setattr(gpu_table, "_stepping", full)
    leg = Leg("nano", "decoder_only", 1, kept=True)
    row = measured(leg, "cpu", 1)
    assert row["peak_mb"] > 0 and row["ms"] > 0 and row["ratio"] is None
    assert "LoRA does not fit" in gpu_table.line({"leg": vars(leg)} | row)
    assert removed([{"leg": vars(leg)} | row]) == {}


def test_the_share_removed_is_of_the_overhead_over_lora():
    def row(method, ratio):
        return {"leg": vars(Leg("vit_b_1024", method, 2)), "ratio": ratio}

    rows = [row("conv_lora_released", 2.0), row("conv_lora", 1.2), row("nas_lora", 1.1)]
    assert list(removed(rows).values()) == [0.9]
    assert list(removed(rows, released=False).values()) == [0.5]


def test_nonsense_is_refused(tmp_path):
    with pytest.raises(UserError, match="'vit_z'; choose one of nano"):
        call("--sizes", "vit_z", "--device", "cpu")
    with pytest.raises(UserError, match="No leg is of method 'lorra'; choose from decoder_only"):
        call(*TINY, "--methods", "lorra")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA device here.*--device cpu"):
            call("--out", tmp_path)


@pytest.mark.gpu
def test_a_leg_on_a_gpu(tmp_path):
    words = ["--sizes", "nano", "--batches", 2, "--rounds", 2, "--out", tmp_path]
    call(*words, "--methods", "nas_lora", "nas_lora_late")
    rows = [json.loads(p.read_text()) for p in tmp_path.iterdir()]
    assert len(rows) == 3 and all(0 < r["peak_mb"] < 2000 and r["ratio"] > 0 for r in rows)
