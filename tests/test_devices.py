"""Two processes move a model as one does, and what a device cannot do is refused."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gradients import gradients
from own import image_folder
from safetensors.torch import load_file
from tiny import tiny_data, tiny_sam

from naslora_core.adapters import ConvLoRA, DecoderOnly, LoRA, NASLoRA, adapt
from naslora_core.adapters.checkpoint import open_model
from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_core.training.devices import (
    known_device,
    launch,
    out_of_memory,
    peak_mb,
    single_process,
)
from naslora_core.training.fitting import fit
from naslora_core.training.losses import LOSSES


def apart(a, b) -> float:
    """Length of the difference of all gradients, relative to their length."""
    assert a.keys() == b.keys()
    square = {k: (a[k] - b[k]).square().sum() for k in a}
    return (sum(square.values()) / sum(g.square().sum() for g in a.values())).sqrt().item()


def test_two_processes_and_two_parts_have_the_gradients_of_one(tmp_path):
    file = tmp_path / "two.st"
    script = [sys.executable, str(Path(__file__).parent / "gradients.py"), str(file), "2"]
    subprocess.run(script, check=True)
    one, halves = (gradients("nas_lora", "both", parts) for parts in (1, 2))
    two = load_file(file)
    print(f"two processes {apart(one, two):.1e}, two parts {apart(one, halves):.1e} from one")
    assert apart(one, two) < 1e-4 and apart(one, halves) < 1e-4
    frozen, released = ({k for k in one if k[0] == stage and "arch_alpha" in k} for stage in "ab")
    assert not frozen and all(one[k].abs().max() > 0 for k in released) and released


def test_two_processes_by_the_real_command_leave_one_run(tmp_path):
    out = tmp_path / "two"
    given = "--method lora --steps 2 --batch 2 --validate-every 0 --quiet --devices 2"
    words = ["fit", image_folder(tmp_path / "data"), *given.split(), "--accelerator", "cpu"]
    words += ["--out", out]
    command = [sys.executable, "-m", "naslora_core", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Next: naslora evaluate") == 1
    assert len((out / "events.jsonl").read_text().splitlines()) == 2
    assert json.loads((out / "run.json").read_text())["processes"] == 2
    assert open_model(out / "last.safetensors").method.rank == 4


def test_what_is_of_a_batch_differs_when_it_is_cut():
    """Conv-LoRA's balance loss and noise, and a Dice over the batch: named, not hidden."""
    assert apart(*(gradients("conv_lora", parts=parts) for parts in (1, 2))) > 1e-3
    labels = torch.zeros(2, 32, 32, dtype=torch.uint8)
    labels[0, :4, :4], labels[1, :24, :24] = 1, 1
    logits = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for name, same in (("structure", True), ("cross_entropy_dice", False)):
        cut = torch.stack([LOSSES[name](logits[i : i + 1], labels[i : i + 1]) for i in (0, 1)])
        assert torch.isclose(LOSSES[name](logits, labels), cut.mean(), rtol=1e-4) == same


def test_noise_is_drawn_by_seed_and_step_alone():
    def trained(before: int):
        model = adapt(tiny_sam(), ConvLoRA())
        torch.manual_seed(before)
        fit(model, tiny_data(), steps=2, batch=2, progress=False)
        return model.trainable()

    a, b = trained(1), trained(2)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_what_is_not_there_is_refused():
    with pytest.raises(UserError, match="'fp16' needs a GPU"):
        single_process(torch.device("cpu"), "fp16")
    with pytest.raises(UserError, match="'int8'; choose one of fp32, bf16, fp16"):
        launch(precision="int8")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA device here"):
            launch(devices=2, accelerator="cuda")


def test_a_numbered_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="no cuda:2 here, the highest is cuda:1"):
        known_device("cuda:2")


def test_where_the_system_counts_no_memory_a_run_goes_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert math.isnan(peak_mb())
    model = adapt(tiny_sam(), DecoderOnly())
    assert len(fit(model, tiny_data(), steps=1, batch=1, progress=False).history) == 1


@pytest.mark.parametrize("batch, parts", [(3, 2), (4, 0), (0, 1)])
def test_a_batch_that_cannot_be_cut_is_refused(batch, parts):
    model = adapt(tiny_sam(), DecoderOnly())
    with pytest.raises(UserError, match="cannot be cut.*multiple of|whole number from 1"):
        fit(model, tiny_data(), steps=1, batch=batch, accumulate=parts, progress=False)


def test_running_out_of_memory_names_the_knobs_in_order(monkeypatch):
    model = adapt(build_nano(), LoRA(rank=2))
    told = str(out_of_memory(model, 8, 8, "fp32"))
    order = [told.index(word) for word in ("accumulate=8", "bf16", "late-4")]
    assert order == sorted(order) and "about 12%" in told and "about 67%" in told
    shared = str(out_of_memory(model, 4, 4, "fp32"))
    assert "with 4 image(s)" in shared and "accumulate=4 " in shared

    def full(*images):
        raise torch.OutOfMemoryError("no more")

    model = adapt(tiny_sam(), NASLoRA(rank=2))
    monkeypatch.setattr(model, "forward", full)
    with pytest.raises(UserError, match="Out of memory with 2 image.*accumulate=2"):
        fit(model, tiny_data(), steps=1, batch=2, progress=False)
