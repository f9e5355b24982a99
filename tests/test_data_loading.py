"""Batches are a function of (seed, step, sample), whoever makes them; errors keep their words."""

import multiprocessing
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import tiny_data, tiny_sam

from naslora_core.adapters import ConvLoRA, DecoderOnly, LoRA, NASLoRA, adapt
from naslora_core.data import Split, to_batch
from naslora_core.errors import UserError
from naslora_core.search.schedule import Schedule, Stage
from naslora_core.training import data_loading
from naslora_core.training.data_loading import StepBatches, batch_indices, default_workers
from naslora_core.training.devices import single_process
from naslora_core.training.fitting import fit
from naslora_core.training.loop import TrainingRun
from naslora_core.training.losses import named_loss

STEPS = [(3, None), (4, "A"), (5, "B"), (6, None)]


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.mark.parametrize("augment, resize", [("flips", "square"), ("full", "pad")])
def test_any_number_of_workers_gives_the_same_batches(augment, resize):
    batches = StepBatches(tiny_data().train, 96, 3, 7, augment, resize)
    before = torch.get_rng_state()
    found = [list(batches.load(STEPS, workers)) for workers in (0, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is left alone
    assert len(found[0]) == 4 and found[0][0][0].shape == (3, 3, 96, 96)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def test_a_batch_is_what_to_batch_makes_of_its_images_and_processes_share_it():
    data = tiny_data().train
    whole = StepBatches(data, 64, 4, seed=1)[5, None]
    chosen = batch_indices(len(data), None, 5, 4, 1)
    wanted = to_batch([data[i] for i in chosen], 64, [(1, 5, i) for i in chosen])
    assert all(torch.equal(a, b) for a, b in zip(whole, wanted, strict=True))
    for rank in (0, 1):
        part = StepBatches(data, 64, 4, seed=1, part=(rank, 2))[5, None]
        assert torch.equal(part[0], whole[0][rank::2])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("error", [UserError("one.png is gone"), ValueError("odd")])
def test_what_goes_wrong_in_a_worker_comes_back_as_it_was(workers, error):
    def read(key):
        raise error

    batches = StepBatches(Split(read, ["a", "b"]), 64, 1, 0).load(STEPS, workers)
    with pytest.raises(type(error)) as met:
        list(batches)
    assert str(met.value) == str(error)


def test_a_killed_worker_is_told_with_the_remedy():
    parent = os.getpid()

    def read(key):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    batches = StepBatches(Split(read, ["a", "b"]), 64, 1, 0).load(STEPS, 1)
    with pytest.raises(UserError, match="workers"):
        list(batches)


@pytest.mark.parametrize("method", [NASLoRA(rank=2, blocks=(1,)), ConvLoRA(blocks=(1,))])
def test_a_run_ends_with_the_same_bits_with_any_number_of_workers(sam, method):
    stages = Stage("a", 1, "weights", 1e-2), Stage("b", 2, "alternate", 1e-2)
    schedule = Schedule("two", stages if isinstance(method, NASLoRA) else stages[:1])
    ends = []
    for workers in (0, 1, 2):
        how = {"batch": 2, "progress": False, "augment": "full", "workers": workers}
        result = fit(adapt(sam, method), tiny_data(), schedule, **how)
        ends.append(result.model.adapter_state_dict())
    for other in ends[1:]:
        assert all(torch.equal(t, other[n]) for n, t in ends[0].items())


def test_workers_end_with_the_run(sam):
    def stop(event):
        raise KeyboardInterrupt

    how = {"steps": 50, "batch": 1, "progress": False, "workers": 2}
    with pytest.raises(KeyboardInterrupt):
        fit(adapt(sam, LoRA(rank=2)), tiny_data(), on_event=stop, **how)
    assert not multiprocessing.active_children()


def test_workers_by_default_follow_the_cpus_and_the_device(monkeypatch):
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    for cpus, wanted in ((1, 0), (2, 1), (4, 3), (64, 8)):
        monkeypatch.setattr(data_loading, "allowed_cpus", lambda cpus=cpus: cpus)
        assert (default_workers(gpu), default_workers(cpu)) == (wanted, 0)


def note_reads(monkeypatch) -> list[str]:
    """Every call of a tensor's method by which the host waits for the device."""
    found = []

    def noting(name):
        real = getattr(torch.Tensor, name)

        def noted(self, *given, **how):
            found.append(name)
            return real(self, *given, **how)

        return noted

    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, noting(name))
    return found


@pytest.mark.parametrize("head, most", [("plain", 1), ("matched", 2)])
@pytest.mark.parametrize("method", [NASLoRA(rank=2), LoRA(rank=2), DecoderOnly()])
def test_the_host_waits_for_the_device_once_a_step(sam, method, head, most, monkeypatch):
    """Once more for a matched head, whose assignment is scipy's. AdamW is left out: it reads its
    own step, which stays on the CPU."""
    moves = "both" if isinstance(method, NASLoRA) else "weights"
    schedule = Schedule("s", (Stage("s", 4, moves, 1e-3),))
    criterion = named_loss("cross_entropy_dice", matched=head == "matched")
    fabric = single_process(torch.device("cpu"))
    model = adapt(sam, method, head=head).train()
    run = TrainingRun(model, tiny_data().train, schedule, 2, 0, criterion, fabric)
    batches = list(run.batches())
    run._stepping = SimpleNamespace(step=lambda: None)
    run.train_step(*schedule.timeline[0], *batches[0])
    reads = note_reads(monkeypatch)
    for step in (1, 2):
        run.train_step(*schedule.timeline[step], *batches[step])
    assert 2 <= len(reads) <= 2 * most, reads


@pytest.mark.parametrize("head", ["plain", "matched"])
def test_the_loss_is_the_same_whatever_a_batch_is_cut_into(sam, head):
    """Dice is of the whole batch, in one part or many, of classes and of tokens."""
    ends = []
    for parts in (1, 2, 4):
        model = adapt(sam, LoRA(rank=2), classes=2, head=head)
        how = {"steps": 2, "batch": 4, "progress": False, "accumulate": parts}
        ends.append([e["loss"] for e in fit(model, tiny_data(classes=2), **how).history])
    assert np.allclose(ends[1], ends[0], atol=2e-4) and np.allclose(ends[2], ends[0], atol=2e-4)
