"""torchvision imports beside a torch without its operators, and is left alone where it works."""

import subprocess
import sys
import textwrap

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora_core.sam.torchvision_compat import greedy_nms


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_torchvision_without_operators_is_healed_once():
    """A stand-in that fails as the real one does, whatever build is installed here."""
    out = run(
        """
        import importlib, sys, types
        from naslora_core.sam import torchvision_compat as heal
        real, defined = importlib.import_module, []
        boxes = types.SimpleNamespace()
        def fake(name):
            if name == "torchvision" and not defined:
                raise RuntimeError("operator torchvision::nms does not exist")
            return boxes
        heal.importlib = types.SimpleNamespace(import_module=fake)
        heal._define_operators = lambda: defined.append(1)
        print(heal.heal_torchvision(), heal.heal_torchvision(), boxes._assert_has_ops())
        """
    )
    assert out == "True False None"


def test_where_torchvision_works_nothing_is_touched():
    out = run(
        """
        import types
        from naslora_core.sam import torchvision_compat as heal
        heal._library = None
        heal.importlib = types.SimpleNamespace(import_module=lambda name: None)
        print(heal.heal_torchvision(), heal._library)
        """
    )
    assert out == "False None"


def test_another_error_is_not_swallowed():
    out = run(
        """
        import types
        from naslora_core.sam import torchvision_compat as heal
        def broken(name):
            raise RuntimeError("another trouble")
        heal.importlib = types.SimpleNamespace(import_module=broken)
        try:
            heal.heal_torchvision()
        except RuntimeError as error:
            print(error)
        """
    )
    assert out == "another trouble"


def test_the_real_torchvision_suppresses_boxes_here():
    out = run(
        """
        from naslora_core.sam import SamPredictor
        import torch, torchvision
        boxes = torch.tensor([[0., 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]])
        scores, labels = torch.tensor([.5, .9, .1]), torch.zeros(3)
        print(torchvision.ops.batched_nms(boxes, scores, labels, 0.5).tolist())
        """
    )
    assert out == "[1, 2]"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12), st.floats(0.1, 0.9))
def test_greedy_nms_equals_a_slow_loop(seed, count, threshold):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator)
    boxes = torch.cat([low, low + 0.05 + torch.rand(count, 2, generator=generator)], 1)
    scores = torch.rand(count, generator=generator)
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if all(overlap(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    assert greedy_nms(boxes, scores, threshold).tolist() == kept


def test_boxes_without_an_area_suppress_nothing():
    """0/0 is no overlap, as in torchvision's own kernel: masks of one column have such boxes."""
    boxes = torch.tensor([[10, 10, 10, 30], [50, 50, 50, 90], [100, 100, 120, 100], [0, 0, 5, 5]])
    assert greedy_nms(boxes.float(), torch.tensor([4.0, 3, 2, 1]), 0.7).tolist() == [0, 1, 2, 3]


def overlap(a, b):
    w = max(0.0, float(min(a[2], b[2]) - max(a[0], b[0])))
    h = max(0.0, float(min(a[3], b[3]) - max(a[1], b[1])))
    area = [float((x[2] - x[0]) * (x[3] - x[1])) for x in (a, b)]
    return w * h / (sum(area) - w * h)
