"""The README's code runs, and its figure says what its records say."""

import re

from own import image_folder

from naslora_workbook.publishing.environment import ROOT
from naslora_workbook.publishing.registered_tables import leads, registered_leads, verdict_title
from naslora_workbook.research.bootstrap import Interval
from naslora_workbook.results.records import measured


def test_the_readmes_own_code_runs(tmp_path, monkeypatch):
    """As it stands there, on ten images and in four steps."""
    monkeypatch.chdir(tmp_path)
    image_folder(tmp_path / "my_images", count=10)
    (library,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    names = {}
    exec(library.replace('out="runs', 'steps=4, out="runs'), names)
    assert (tmp_path / "runs" / "mine" / "last.safetensors").exists()
    assert names["result"].history[-1]["step"] == 4


def test_the_readme_fits_a_screen_and_its_figure_states_the_verdict_of_the_records():
    assert len((ROOT / "README.md").read_bytes()) <= 7000
    assert measured("measurements/hero")["alt"].startswith(verdict_title(leads()))


def test_a_finding_says_that_an_interval_with_zero_cannot_tell():
    sure, unsure = Interval(0.02, 0.01, 0.03), Interval(0.01, -0.01, 0.03)
    found = {"Conv-LoRA": sure, "LoRA": unsure, "full fine-tuning": unsure}
    assert verdict_title(found) == (
        "NAS-LoRA scores above Conv-LoRA; 2 of 3 rivals: we cannot tell"
    )
    conv, lora, _ = registered_leads(found).split(";")
    assert "cannot tell" in lora and "cannot tell" not in conv


def test_a_rival_that_is_ahead_is_not_called_behind():
    rivals = "Conv-LoRA", "LoRA", "full fine-tuning"
    found = dict.fromkeys(rivals, Interval(-0.02, -0.03, -0.01))
    assert registered_leads(found).count("worse") == 3
    assert "scores above" not in verdict_title(found)
