"""Blocks that keep their inputs alone: the same bits for less memory."""

import pytest
import torch
from tiny import tiny_data, tiny_sam
from torch.autograd.graph import saved_tensors_hooks

from naslora_core.adapters import LoRA, adapt
from naslora_core.sam import build_nano
from naslora_core.sam.checkpointing import checkpointed
from naslora_core.training.devices import INPUTS
from naslora_core.training.fitting import fit
from naslora_workbook.research.methods import METHODS
from naslora_workbook.research.variants import VARIANTS


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.mark.parametrize("name", ["lora", "conv_lora", "nas_lora", "nas_darts", "lst"])
def test_training_ends_with_the_same_bits(sam, name):
    found = []
    for on in (False, True):
        model = adapt(sam, (METHODS | VARIANTS)[name])
        fit(model, tiny_data(), steps=2, batch=2, progress=False, checkpointing=on)
        found.append({n: t.detach().clone() for n, t in model.adapter_state_dict().items()})
        assert not any("forward" in vars(m) for m in model.modules())
    off, on = ({n: t for n, t in k.items() if not n.endswith("batches_tracked")} for k in found)
    assert all(torch.equal(t, on[n]) for n, t in off.items())


def test_it_keeps_the_share_that_the_advice_says():
    encoder = adapt(build_nano(), LoRA(rank=4)).sam.image_encoder.train()
    images = torch.randn(2, 3, 128, 128)
    own = {p.untyped_storage().data_ptr() for p in encoder.parameters()}

    def kept(on: bool) -> int:
        found = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                found[storage.data_ptr()] = storage.nbytes(), tensor
            return tensor

        with saved_tensors_hooks(pack, lambda t: t), checkpointed(encoder, on):
            encoder(images)
        return sum(size for size, _ in found.values())

    assert kept(True) / kept(False) == pytest.approx(INPUTS, abs=0.02)
