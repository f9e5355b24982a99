"""How soon a method is as good as its rival at the end: steps and seconds as shares of its run."""

import json

import pytest

from naslora_workbook.publishing.reach import last_tenth, reach_table, reached, shares

ENDS = [[20, 0.2, 2.0], [40, 0.6, 4.0], [60, 0.5, 8.0]]


def run(method, looks, seed=0):
    facts = {"device": "a machine", "date": "2026-01-01", "commit": "c", "command": "compare"}
    setting = {"steps": 60, "looks": 20}
    return {
        "data": "polyp", "seed": seed, "method": method, "looks": looks, "setting": setting,
        "provenance": facts,
    }  # fmt: skip


def test_the_first_look_that_is_good_enough_counts():
    assert reached(ENDS, 0.5) == 40 and reached(ENDS, 0.2) == 20
    assert reached(ENDS, 0.7) is None


def test_shares_are_of_the_rivals_whole_run_and_only_of_pairs():
    quick = run("nas_lora", [[20, 0.5, 1.0], [40, 0.1, 2.0], [60, 0.1, 3.0]])
    never = run("nas_lora", [[20, 0.1, 1.0], [40, 0.1, 2.0], [60, 0.4, 3.0]], seed=1)
    rivals = [run("conv_lora", ENDS, seed) for seed in (0, 1, 2)]
    found = shares([quick, never, *rivals], "nas_lora")
    assert found == [pytest.approx(1 / 3), None]  # of seed 2 there is no pair
    assert shares(rivals, "conv_lora") == [pytest.approx(2 / 3)] * 3


def test_the_table_says_how_many_get_there_and_what_it_takes(tmp_path):
    assert reach_table(tmp_path) == ""
    (tmp_path / "results" / "curves").mkdir(parents=True)
    ratios = {"conv_lora": 1.2, "nas_lora": 0.9, "lora": 1.0}
    bench = {"rows": {"nano": {name: {"step_ratio": r} for name, r in ratios.items()}}}
    (tmp_path / "results" / "bench.json").write_text(json.dumps(bench))
    runs = (
        run("conv_lora", ENDS),
        run("nas_lora", ENDS),
        run("lora", [[20, 0.1, 2.0], [60, 0.12, 8.0]]),
    )
    for i, record in enumerate(runs):
        (tmp_path / "results" / "curves" / f"{i}.json").write_text(json.dumps(record))
    table = reach_table(tmp_path)
    assert "| NAS-LoRA | 1 of 1 | 0.67 | 0.50 | -0.100 |" in table
    assert "NAS-LoRA was to need 0.5 of Conv-LoRA's passes: missed. Until" in table
    assert "| LoRA | 0 of 1 | - | - | +0.020 |" in table and "seeds 0:" in table


def test_the_last_tenth_is_told_by_domain():
    long = [[step, step / 1000, 1.0] for step in range(10, 101, 10)]
    other = run("lora", ENDS) | {"data": "leaf"}
    gains = last_tenth([run("lora", long), other, run("nas_lora", ENDS)], "lora")
    assert gains == {"leaf": pytest.approx(-0.1), "polyp": pytest.approx(0.01)}
