"""The README's doors say what was measured, and lead to the first lesson."""

import json

from lessons import LESSONS

from naslora_core.house.doors import doors
from naslora_core.house.lesson import badges

COSTS = {lesson.name: {"seconds": 30 + lesson.number, "peak_mb": 900} for lesson in LESSONS}


def test_doors_add_up_what_was_recorded(tmp_path):
    kept = {"lessons": COSTS, "provenance": {"device": "a laptop"}}
    (tmp_path / "workbook.json").write_text(json.dumps(kept))
    read, tried, run, teach = doors(recorded=tmp_path / "workbook.json").splitlines()[2:]
    minutes = sum(30 + lesson.number for lesson in LESSONS) / 60
    assert f"{minutes:.0f} minutes for all on a laptop; 0.9 GB of memory" in run
    assert f"[{len(LESSONS)} lessons]" in read and "runs 30 s in 0.9 GB" in tried
    addresses = [part.partition(")")[0] for part in tried.split("](")[1:]]
    assert all(f"({address})" in badges(LESSONS[0].name) for address in addresses)
    assert "offline" in teach
