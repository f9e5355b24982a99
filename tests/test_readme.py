"""The README's code runs, and its figure says what its records say."""

import re

import torch
from own import image_folder

import naslora_core
from naslora_workbook.figures.story import paired_seeds
from naslora_workbook.figures.theme import canvas
from naslora_workbook.publishing.environment import ROOT
from naslora_workbook.research.compare import paired, recorded
from naslora_workbook.results.records import measured


def test_the_readmes_own_code_runs(tmp_path, monkeypatch):
    """As it stands there, on ten images and in four steps."""
    monkeypatch.chdir(tmp_path)
    image_folder(tmp_path / "my_images", count=10)
    library, loop = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    names = {}
    exec(library.replace('out="runs', 'steps=4, out="runs'), names)
    assert (tmp_path / "runs" / "mine" / "last.safetensors").exists()
    model, names["images"] = names["model"], torch.rand(2, 3, 128, 128) * 255
    names |= {"truth": torch.ones(2, 1, 128, 128), "your_loss": torch.nn.functional.mse_loss}
    before = {n: t.clone() for n, t in model.trainable().items()}
    exec(loop, names)
    assert any((t != before[n]).any() for n, t in model.trainable().items())
    again = naslora_core.load_adapter(names["sam"], "mine.safetensors")
    assert all(
        torch.equal(t, model.adapter_state_dict()[n]) for n, t in again.adapter_state_dict().items()
    )


def test_the_first_figure_says_what_its_records_say():
    """hero.png was drawn before: where the rule or the records changed, it is to be made anew."""
    alt = measured("measurements/hero")["alt"]
    runs = recorded("methods")
    differences = {
        d: paired([r for r in runs if r["data"] == d], "nas_lora", "lora")
        for d in ("camouflage", "polyp")
    }
    said = paired_seeds(canvas()[1][0, 0], differences)
    assert alt.startswith(f"NAS-LoRA minus LoRA: {said}."), "run python -m naslora_core hero"
