"""Tables hold what was recorded: rows, shares, worst errors; pages hold the tables as they are."""

import pytest

from naslora_core.errors import UserError
from naslora_workbook.publishing import result_tables as made
from naslora_workbook.publishing import tables

FROM = {"device": "a", "date": "2026-01-02", "commit": "c", "command": "bench"}


def test_the_source_names_everything_that_differs():
    later = {"provenance": FROM | {"date": "2026-01-05", "commit": "d+"}}
    first = {"provenance": FROM}
    assert made.source(first) == "a, 2026-01-02, commit `c`, `bench`."
    assert made.source(first, later).startswith("a, 2026-01-02 to 2026-01-05, commit `c`, `d+`")
    assert made.source(first, later, commands=["all of it"]).endswith("`d+`, `all of it`.")


def test_a_leg_is_a_row_even_where_memory_ran_out():
    leg = {"size": "vit_h_1024", "method": "nas_lora", "batch": 2, "fast": True}
    kept = {"leg": leg, "ms": 900.0, "ratio": 1.01, "images_per_second": 2.22, "peak_mb": 20480.0}
    table = made.gpu_table([kept | {"provenance": FROM}])
    assert "| vit_h_1024 | NAS-LoRA | 2 | fast | 900 | 1.010 | 2.22 | 20.0 |" in table
    table = made.gpu_table([{"leg": leg, "out_of_memory": True, "provenance": FROM}])
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
