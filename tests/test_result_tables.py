"""Tables hold what was recorded: rows, shares, worst errors; pages hold the tables as they are."""

import pytest

from naslora_core.errors import UserError
from naslora_workbook.publishing import cost_tables as costs
from naslora_workbook.publishing import result_tables as made
from naslora_workbook.publishing import tables
from naslora_workbook.publishing.result_tables import last_tenth, passes_to_target, steps_to_target

FROM = {"device": "a", "date": "2026-01-02", "commit": "c", "command": "bench"}
ENDS = [[20, 0.2, 2.0], [40, 0.6, 4.0], [60, 0.5, 8.0]]


def run(method, looks, seed=0, data="polyp"):
    return {
        "data": data, "seed": seed, "method": method, "looks": looks, "provenance": FROM,
        "setting": {"steps": 60, "looks": 20}, "base": "another",
    }  # fmt: skip


def test_the_source_names_everything_that_differs():
    later = {"provenance": FROM | {"date": "2026-01-05", "commit": "d+"}}
    first = {"provenance": FROM}
    assert made.source(first) == "a, 2026-01-02, commit `c`, `bench`."
    assert made.source(first, later).startswith("a, 2026-01-02 to 2026-01-05, commit `c`, `d+`")
    assert made.source(first, later, commands=["all of it"]).endswith("`d+`, `all of it`.")


def test_the_first_look_that_is_good_enough_counts():
    assert steps_to_target(ENDS, 0.5) == 40 and steps_to_target(ENDS, 0.2) == 20
    assert steps_to_target(ENDS, 0.7) is None


def test_passes_are_a_share_of_the_rivals_whole_run_and_only_of_pairs():
    quick = run("nas_lora", [[20, 0.5, 1.0], [40, 0.1, 2.0], [60, 0.1, 3.0]])
    never = run("nas_lora", [[20, 0.1, 1.0], [40, 0.1, 2.0], [60, 0.4, 3.0]], seed=1)
    rivals = [run("conv_lora", ENDS, seed) for seed in (0, 1, 2)]
    found = passes_to_target([quick, never, *rivals], "nas_lora")
    assert found == [pytest.approx(1 / 3), None]  # of seed 2 there is no pair
    assert passes_to_target(rivals, "conv_lora") == [pytest.approx(2 / 3)] * 3


def test_the_table_of_curves_says_how_many_get_there_and_what_it_takes(monkeypatch):
    ratios = {"conv_lora": 1.2, "nas_lora": 0.9, "lora": 1.0}
    bench = {"rows": {"nano": {name: {"step_ratio": r} for name, r in ratios.items()}}}
    monkeypatch.setattr(made, "measured", lambda name: bench)
    records = [run("conv_lora", ENDS), run("nas_lora", ENDS)]
    records.append(run("lora", [[20, 0.1, 2.0], [60, 0.12, 8.0]]))
    table = made.curves_table(records)
    assert "| NAS-LoRA | 1 of 1 | 0.67 | 0.50 | -0.100 |" in table and "missed. Until" in table
    assert "| LoRA | 0 of 1 | - | - | +0.020 |" in table and "seeds 0:" in table


def test_the_last_tenth_is_told_by_domain():
    long = [[step, step / 1000, 1.0] for step in range(10, 101, 10)]
    records = [run("lora", long), run("lora", ENDS, data="leaf"), run("nas_lora", ENDS)]
    assert last_tenth(records, "lora") == {
        "leaf": pytest.approx(-0.1),
        "polyp": pytest.approx(0.01),
    }


def test_attention_has_a_row_a_form_and_says_what_one_refuses():
    row = {"ratio": 0.5, "saved_mb": 1234.5, "output_error": 1e-7, "gradient_error": 3e-7}
    rows = {form: row for form in costs.FORMS} | {"flex": {"refused": "no backward"}}
    kept = {"rows": {"windowed": rows, "global": rows}, "rounds": 3, "provenance": FROM}
    table = costs.attention("attention", kept)
    assert "| 0.50 | 1,234 | 0.50 | 1,234 | 3e-07 |" in table and "no backward |" in table
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(costs.FORMS) and len({line.count("|") for line in lines}) == 1


def test_plans_tell_their_worst_error(monkeypatch):
    rows = {"nano": [1.02, 1.0], "vit_b": [1.01, 0.9]}
    monkeypatch.setattr(costs, "measured", lambda name: {
        "rows": [{"ratio": {"peak": r}} for r in rows[name.partition("plan_")[2]]],
        "provenance": FROM})  # fmt: skip
    assert "memory 2.0%" in costs.plans() and "memory 10.0%" in costs.plans()


def test_a_leg_is_a_row_even_where_memory_ran_out():
    leg = {"size": "vit_h_1024", "method": "nas_lora", "batch": 2, "fast": True}
    kept = {"leg": leg, "ms": 900.0, "ratio": 1.01, "images_per_second": 2.22, "peak_mb": 20480.0}
    table = costs.gpu_table([kept | {"provenance": FROM}])
    assert "| vit_h_1024 | NAS-LoRA | 2 | fast | 900 | 1.010 | 2.22 | 20.0 |" in table
    table = costs.gpu_table([{"leg": leg, "out_of_memory": True, "provenance": FROM}])
    assert "| fast | out of memory |" in table


def test_marks_are_filled_by_name_and_others_are_refused(tmp_path):
    text = "a\n<!-- one -->\nold\n<!-- /one -->\nb"
    filled = tables.fill(text, {"one": lambda: "new"}, tmp_path)
    assert filled == "a\n<!-- one -->\nnew\n<!-- /one -->\nb"
    for wrong in (text.replace("/one", "/two"), text.replace("one", "other")):
        with pytest.raises(UserError, match="<!-- o"):
            tables.fill(wrong, {"one": lambda: "new"}, tmp_path)


def test_the_path_has_an_arrow_from_every_lesson_that_is_needed():
    class Made:
        def __init__(self, number, opening):
            self.number, self.title, self.opening = number, f"Title {number}", opening

    first = tables.PARTS[1][1]
    path = tables.path_diagram([
        Made(0, ""), Made(1, "# 01\n\nNeeds [00](00_zero.ipynb)."),
        Made(first, "Needs [00](00_zero.ipynb), [01](01_one.ipynb)."),
        Made(13, "Needs [01](01_one.ipynb) and [12](12_missing.ipynb)."),
    ])  # fmt: skip
    assert path.count("-->") == 4 and path.count("subgraph") == 3
    assert "L00 --> L01" in path and 'L13["13 Title 13"]' in path


def test_the_pages_hold_the_tables_as_they_are_recorded():
    """`make tables` brings them up to date."""
    pages = {path: text for path, text in tables.expected().items() if path.suffix == ".md"}
    assert [str(path) for path, text in pages.items() if path.read_text() != text] == []
