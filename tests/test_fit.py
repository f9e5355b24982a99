"""Training moves what the stage says, learns, refuses nonsense, and survives being killed."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import SIDE, tiny_data, tiny_sam

from naslora_core.adapters import ConvLoRA, DecoderOnly, LoRA, NASLoRA, adapt, save_adapter
from naslora_core.data.transforms import to_batch
from naslora_core.errors import UserError
from naslora_core.sam import model_hash
from naslora_core.search import Schedule, Stage
from naslora_core.training.data_loading import batch_indices
from naslora_core.training.fitting import fit

QUIET = {"batch": 2, "progress": False}


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


def copies(model):
    return {n: p.detach().clone() for n, p in model.trainable().items()}


@pytest.mark.parametrize("moves, still", [("weights", "alpha"), ("alpha", "weights")])
def test_what_does_not_move_is_bit_identical(sam, moves, still):
    model = adapt(sam, NASLoRA(rank=2))
    for p in model.trainable().values():
        p.data.add_(0.01)  # Wd leaves zero, so that alpha has a gradient
    before, base = copies(model), model_hash(sam)
    stage = Stage("only", 3, moves, lr=1e-3)
    fit(model, tiny_data(), Schedule("one", (stage,)), **QUIET)
    moved = {n for n, p in model.trainable().items() if not torch.equal(p, before[n])}
    alphas = {n for n in before if n.endswith("arch_alpha")}
    assert moved <= (alphas if moves == "alpha" else before.keys() - alphas)
    assert moved and model_hash(sam) == base


@pytest.mark.parametrize("method", [DecoderOnly(), LoRA(rank=2), NASLoRA(rank=2)])
def test_the_loss_falls_on_a_task_that_can_be_learned(sam, method):
    history = fit(adapt(sam, method), tiny_data(), steps=14, lr=1e-2, **QUIET).history
    losses = [e["loss"] for e in history]
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:3])


@pytest.mark.parametrize("head", ["plain", "matched"])
def test_what_a_method_adds_to_the_loss_is_trained(sam, head):
    """With one expert a map, no task reaches Conv-LoRA's gate: its penalty alone moves it."""
    model = adapt(sam, ConvLoRA(blocks=(1,)), head=head)
    before = copies(model)
    fit(model, tiny_data(), steps=3, **QUIET)
    gate = [n for n in before if "gate.w_" in n]
    after = model.trainable()
    assert len(gate) == 2 and not any(torch.equal(after[n], before[n]) for n in gate)


def test_three_classes_are_no_special_case(sam):
    data = tiny_data(classes=3)
    result = fit(adapt(sam, LoRA(rank=2), classes=3), data, steps=3, **QUIET)
    assert np.isfinite(result.history[-1]["loss"])


def test_events_tell_stage_and_alpha_and_the_genotype_its_circumstances(sam):
    result = fit(adapt(sam, NASLoRA(rank=2)), tiny_data(), steps=10, seed=3, **QUIET)
    assert [e["step"] for e in result.history] == list(range(1, 11))
    assert [e["stage"] for e in result.history] == ["warm-up"] * 2 + ["search"] * 5 + ["settle"] * 3
    assert len(result.history[0]["alpha"]) == 2 and len(result.history[0]["alpha"][0]) == 9
    assert (result.genotype.schedule, result.genotype.seed) == ("stage-wise", 3)


@pytest.mark.parametrize(
    ("schedule", "split"),
    [("stage-wise", "train"), ("joint", "train"), ("bilevel", "train, half B")],
)
def test_a_genotype_names_the_images_that_moved_alpha(sam, schedule, split):
    model = adapt(sam, NASLoRA(rank=2, blocks=(1,)))
    assert fit(model, tiny_data(), schedule, steps=2, **QUIET).genotype.split == split


def test_a_genotype_is_read_from_the_first_training_images(sam, monkeypatch):
    read = []
    module = sys.modules[fit.__module__]  # the package has the function under its name
    monkeypatch.setattr(module, "read_genotype", lambda _, images, *__, **___: read.append(images))
    for count in (3, 20):
        data = tiny_data(count)
        fit(adapt(sam, NASLoRA(rank=2, blocks=(1,))), data, steps=1, **QUIET)
        assert torch.equal(read[-1], to_batch(data.train[:16], SIDE)[0])


def test_what_was_trained_can_be_trained_again(sam):
    """The last step froze alpha, or the weights; a loop of one's own finds all of them awake."""
    for schedule in ("stage-wise", "bilevel"):
        model = adapt(sam, NASLoRA(rank=2, blocks=(1,)))
        wanted = {n for n, p in model.named_parameters() if p.requires_grad}
        fit(model, tiny_data(), schedule, steps=2, **QUIET)
        assert {n for n, p in model.named_parameters() if p.requires_grad} == wanted
        assert not model.training


def test_what_cannot_be_trained_is_told(sam):
    model = adapt(sam, LoRA(rank=2))
    with pytest.raises(UserError, match="A Sam trains nothing"):
        fit(sam, tiny_data(), **QUIET)
    with pytest.raises(UserError, match="The data are 'my_images/'; expected a Dataset"):
        fit(model, "my_images/", **QUIET)
    with pytest.raises(UserError, match="early_stopping is 50; expected EarlyStopping"):
        fit(model, tiny_data(), early_stopping=50, **QUIET)


def test_images_are_drawn_by_seed_and_step_alone():
    assert (
        batch_indices(10, None, 3, 4, 0)
        == batch_indices(10, None, 3, 4, 0)
        != batch_indices(10, None, 3, 4, 1)
    )
    epoch = sum((batch_indices(10, None, step, 5, 0) for step in (0, 1)), [])
    assert sorted(epoch) == list(range(10))
    a = {i for step in range(5) for i in batch_indices(10, "A", step, 4, 0)}
    b = {i for step in range(5) for i in batch_indices(10, "B", step, 4, 0)}
    assert not a & b and a | b == set(range(10))
    assert batch_indices(1, "A", 0, 2, 0) == batch_indices(1, "B", 1, 2, 0) == [0, 0]
    half = sum(
        (batch_indices(16, "B", step, 4, 0) for step in (1, 3)), []
    )  # two alpha steps: one epoch
    assert len(set(half)) == 8


def test_wrong_classes_are_refused_with_the_remedy(sam):
    with pytest.raises(UserError, match="3 foreground classes, the model draws 1.*classes=3"):
        fit(adapt(sam, LoRA()), tiny_data(classes=3), **QUIET)


def test_an_infinite_loss_names_step_and_images(sam):
    model = adapt(sam, LoRA(rank=2))
    model.head.token.data.fill_(float("nan"))
    with pytest.raises(UserError, match=r"nan at step 0 \(images square\d, square\d\)"):
        fit(model, tiny_data(), steps=2, **QUIET)


def test_another_run_in_the_same_folder_is_refused_and_nothing_changes(sam, tmp_path):
    fit(adapt(sam, LoRA(rank=2)), tiny_data(), steps=2, out=tmp_path, **QUIET)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UserError, match="holds a run with seed 0, not 9; start it as it was"):
        fit(adapt(sam, LoRA(rank=2)), tiny_data(), steps=2, seed=9, out=tmp_path, **QUIET)
    assert before == {p.name: p.read_bytes() for p in tmp_path.iterdir()}


def test_a_folder_knows_its_base_its_head_and_its_images(sam, tmp_path):
    """Nobody gets another run's adapter as his own because the names are the same."""
    fit(adapt(sam, LoRA(rank=2)), tiny_data(), steps=1, out=tmp_path, **QUIET)
    other = copy.deepcopy(sam)
    other.image_encoder.pos_embed.data += 1
    changed = {
        "base": (adapt(other, LoRA(rank=2)), tiny_data()),
        "head": (adapt(sam, LoRA(rank=2), head="matched"), tiny_data()),
        "other pictures or masks": (adapt(sam, LoRA(rank=2)), tiny_data(count=8)),
    }
    for what, (model, data) in changed.items():
        with pytest.raises(UserError, match=f"holds a run with (another )?{what}"):
            fit(model, data, steps=1, out=tmp_path, **QUIET)


def test_augmentation_is_chosen_recorded_and_checked(sam, tmp_path):
    losses = {}
    for augment in ("flips", "full"):
        out, model = tmp_path / augment, adapt(sam, LoRA(rank=2))
        result = fit(model, tiny_data(), steps=2, out=out, augment=augment, **QUIET)
        assert json.loads((out / "run.json").read_text())["augment"] == augment
        losses[augment] = result.history[0]["loss"]
    assert losses["full"] != losses["flips"]
    with pytest.raises(UserError, match="augment flips, not full"):
        fit(model, tiny_data(), steps=2, out=tmp_path / "flips", augment="full", **QUIET)
    with pytest.raises(UserError, match="'mirror'; choose one of flips, full"):
        fit(model, tiny_data(), steps=2, augment="mirror", **QUIET)


ALONE = os.environ | {"OMP_NUM_THREADS": "1"}
KILLED = """
import sys, torch
sys.path[:0] = {path!r}
from pathlib import Path
from test_fit import search
search(Path(sys.argv[1]), int(sys.argv[2]))
"""


def search(folder: Path, workers: int = 0) -> Path:
    """Twelve steps, begun or resumed, in one thread; then the adapter beside the folder."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = adapt(tiny_sam(), NASLoRA(rank=2))
    how = {"save_every_seconds": 0, "workers": workers} | QUIET
    fit(model, tiny_data(), steps=12, out=folder, **how)
    save_adapter(model, folder.with_suffix(".st"))
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed: its folder, with the adapter beside it."""
    return search(tmp_path_factory.mktemp("whole") / "run")


def _kill(folder: Path, after: int, wait: float, workers: int = 0) -> None:
    """Start a run and end it without warning, `wait` seconds after its event number `after`."""
    here = Path(__file__).parent
    code = KILLED.format(path=[str(here.parent), str(here)])
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), str(workers)], env=ALONE)
    deadline = time.monotonic() + 120
    while _lines(folder) < after and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _same(a: Path, b: Path) -> bool:
    """Whether two runs ended with the same bits and told of the same steps."""
    x, y = (load_file(folder.with_suffix(".st")) for folder in (a, b))
    events = [
        [{**json.loads(line), "seconds": 0} for line in (folder / "events.jsonl").open()]
        for folder in (a, b)
    ]
    same = x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)
    return same and events[0] == events[1]


def test_killed_and_resumed_equals_uninterrupted(whole, tmp_path):
    """Killed with workers, resumed without: the same bits as the run that had none."""
    folder = tmp_path / "run"
    _kill(folder, after=5, wait=0, workers=1)
    assert not folder.with_suffix(".st").exists()
    assert _same(whole, search(folder))


def test_a_run_killed_before_its_first_state_begins_a_new_log(sam, tmp_path):
    def stop(event):
        if event["step"] == 2:
            raise KeyboardInterrupt

    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(
            adapt(sam, DecoderOnly()),
            tiny_data(),
            steps=4,
            out=out,
            on_event=stop,
            **QUIET,
        )
    fit(adapt(sam, DecoderOnly()), tiny_data(), steps=4, out=out, **QUIET)
    told = [json.loads(line)["step"] for line in (out / "events.jsonl").open()]
    assert told == [1, 2, 3, 4]


@pytest.mark.slow
def test_twenty_kills_twenty_identical_results(whole, tmp_path):
    moments = np.random.default_rng(0)
    for i in range(20):
        folder = tmp_path / f"run{i}"
        _kill(folder, int(moments.integers(0, 12)), moments.uniform(0, 0.3), workers=i % 3)
        assert _same(whole, search(folder, workers=i % 2)), i


def _lines(folder):
    log = folder / "events.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_bf16_moves_the_weights_about_as_fp32_and_others_are_refused(sam):
    losses = {}
    for precision in ("fp32", "bf16"):
        model = adapt(sam, DecoderOnly())
        losses[precision] = fit(
            model, tiny_data(), steps=3, batch=2, progress=False, precision=precision
        ).history[-1]["loss"]
        assert all(p.dtype == torch.float32 for p in model.trainable().values())
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["bf16"] != losses["fp32"]
    with pytest.raises(UserError, match="'fp8'.*fp32, bf16"):
        fit(adapt(sam, DecoderOnly()), tiny_data(), precision="fp8", progress=False)


def test_a_search_says_beforehand_what_it_can_decide(sam, capsys):
    for method in (NASLoRA(rank=2, blocks=(1,)), LoRA(rank=2, blocks=(1,))):
        fit(adapt(sam, method), tiny_data(), "joint", steps=2, batch=1)
    said = capsys.readouterr().out
    assert said.count("2 alpha steps at 0.02") == 1 and "A decision is unlikely" in said


def test_a_method_that_is_a_plain_class_is_trained(tmp_path):
    class Plain:
        def inject(self, encoder):
            encoder.neck.requires_grad_(True)

    result = fit(adapt(tiny_sam(), Plain()), tiny_data(), steps=1, batch=2, progress=False)
    assert len(result.history) == 1
