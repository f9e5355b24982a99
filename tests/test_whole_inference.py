"""Whole encoders take turns; the same code on a small one."""

import json

from own import call

from naslora_core.sam import build_nano
from naslora_workbook.research import measuring
from naslora_workbook.research.whole_inference import KINDS, VANILLA, measure_inference


def test_every_encoder_has_a_row_beside_vanilla(tmp_path, monkeypatch):
    encoder = build_nano().image_encoder
    small = lambda *given: measure_inference(*given, batch=1, encoder=encoder)  # noqa: E731
    monkeypatch.setattr(measuring, "measure_inference", small)
    call("measure", "inference", "--rounds", 2, "--out", tmp_path / "rows.json")
    kept = json.loads((tmp_path / "rows.json").read_text())["rows"]
    names = {VANILLA, "fused attention", *(f"{kind}, fused attention" for kind in KINDS)}
    assert kept.keys() == {"bf16", "fp32"} and all(rows.keys() == names for rows in kept.values())
    assert all(r["images_per_second"] > 0 for rows in kept.values() for r in rows.values())
    assert all(rows[VANILLA]["ratio"] == 1 for rows in kept.values())
