"""Of the real size is said what is recorded, and of the rest that it is not."""

import json

import pytest

from naslora_workbook.publishing import scale
from naslora_workbook.publishing.scale import FORMS, headline, scale_table
from naslora_workbook.research.gpu_table import Leg, legs, removed

FROM = {"device": "a", "date": "b", "commit": "c", "command": "d"}


@pytest.fixture
def record(tmp_path):
    (tmp_path / "results" / "gpu").mkdir(parents=True)

    def write(name: str, **kept):
        path = tmp_path / "results" / name
        path.write_text(json.dumps(kept | {"provenance": FROM}))
        return tmp_path

    return write


def test_of_nothing_recorded_nothing_is_said(tmp_path):
    assert scale_table(tmp_path) == headline(tmp_path) == ""


def test_attention_has_a_row_a_form_and_says_what_one_refuses(record):
    row = {"ratio": 0.5, "saved_mb": 1234.5, "output_error": 1e-7, "gradient_error": 3e-7}
    rows = {form: row for form in FORMS} | {"flex": {"refused": "no backward"}}
    core = record("attention.json", rows={"windowed": rows, "global": rows}, rounds=3)
    table = scale.attention(core)
    assert "| 0.50 | 1,234 | 0.50 | 1,234 | 3e-07 |" in table and "no backward |" in table
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(FORMS) and len({line.count("|") for line in lines}) == 1


def test_plans_and_caches_tell_their_worst(record):
    row = {"ratio": {"peak": 1.02, "seconds": 0.8}}
    record("plan_nano.json", rows=[row])
    core = record("plan_vit_b.json", rows=[row, {"ratio": {"peak": 0.9}}])
    told = scale.plans(core)
    assert "memory 2.0%, time 20%. " in told
    assert "2 settings of two blocks of ViT-B at 1024: memory 10.0%, time 20%. " in told
    ways = {"with": {"ratio": 0.25}, "half": {"loss_difference": 2e-4}}
    core = record("cache.json", rows={"decoder_only": ways})
    assert "decoder_only 0.25" in scale.caches(core) and "2e-04 at most" in scale.caches(core)


def test_a_leg_fills_the_table_and_the_front_page(record):
    leg = {"size": "vit_h_1024", "method": "nas_lora", "batch": 2, "fast": True, "kept": False}
    kept = {"leg": leg, "ms": 900.0, "ratio": 1.01, "images_per_second": 2.22, "peak_mb": 20480.0}
    core = record("gpu/vit_h_1024-nas_lora-b2-fast-bf16.json", **kept)
    assert "| vit_h_1024 | NAS-LoRA | 2 | fast | 900 | 1.010 | 2.22 | 20.0 |" in scale_table(core)
    assert "| vit_h, NAS-LoRA, fused | 900 | 2.2 | 20.0 |" in headline(core)
    core = record("gpu/x.json", leg=leg | {"kept": True}, out_of_memory=True)
    assert "| fast, cached | out of memory |" in scale_table(core)


def test_whole_encoders_and_blocks_are_told_in_a_sentence(record):
    row = {"ratio": 0.5, "images_per_second": 99.6}
    core = record("inference_cuda.json", rows={"bf16": {"vanilla": row}})
    assert "in bf16 vanilla 100 (time 0.50). a, b" in scale.inference(core)
    blocks = {"rows": {"vit_b": {"lora": {"step_ratio": 1.0}}}}
    blocks |= {"folded": {"vit_b": {"pointwise": {"inference_ratio": 1.014}}}}
    told = scale.blocks(record("bench_cuda.json", **blocks))
    assert "LoRA 1.00. Folded" in told and "pointwise 1.01. a" in told


def test_the_package_has_every_leg_and_says_what_the_front_page_says_of_them():
    records = [json.loads(p.read_text()) for p in (scale.CORE / "results" / "gpu").glob("*.json")]
    asked = {leg.name for leg in legs(["vit_b_1024", "vit_h_1024"], [2, 4])}
    assert {Leg(**r["leg"]).name for r in records} == asked
    shares = removed([r for r in records if r["leg"]["size"] == "vit_b_1024"]).values()
    assert sum(share >= 0.85 for share in shares) == 3 and len(shares) == 4
    peak = {Leg(**r["leg"]).name: r["peak_mb"] / 1024 for r in records}
    assert peak["vit_b_1024-nas_lora-b2-fast-bf16"] < 13
    late, plain = "nas_lora_late-b2-fast-cache", "nas_lora-b2-official"
    assert peak[f"vit_b_1024-{late}-bf16"] < peak[f"vit_b_1024-{plain}-bf16"] / 2
    assert peak["vit_h_1024-nas_lora-b2-fast-bf16"] < 24
