"""torchvision imports beside a torch without its operators, and is left alone where it works."""

import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora_core.torchvision_compat import greedy_nms


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


FAKE = """
    import sys, types
    from naslora_core import torchvision_compat as compat
    tries, defined = [], []
    class Loader:
        create_module = staticmethod(lambda spec: None)
        def exec_module(self, module):
            tries.append(1)
            if {fails}:
                raise RuntimeError("{error}")
            module.ops = types.SimpleNamespace(boxes=types.SimpleNamespace())
    spec = types.SimpleNamespace(loader=Loader())
    compat.PathFinder = types.SimpleNamespace(find_spec=lambda *words: spec)
    compat.define_operators = lambda: defined.append(1)
    loader = compat.HealingFinder.find_spec("torchvision").loader
    module = types.SimpleNamespace()
"""


def fake(fails: str, error: str, then: str) -> str:
    """What is printed after importing a stand-in that fails as told, whatever is installed here."""
    code = textwrap.dedent(FAKE).format(fails=fails, error=error)
    return run(code + textwrap.dedent(then))


def test_a_torchvision_without_operators_is_healed_once():
    then = """
    loader.exec_module(module)
    print(len(tries), len(defined), module.ops.boxes._assert_has_ops())
    """
    assert fake("not defined", "operator torchvision::nms does not exist", then) == "2 1 None"


def test_where_torchvision_works_nothing_is_touched():
    then = """
    loader.exec_module(module)
    print(len(tries), len(defined), vars(module.ops.boxes))
    """
    assert fake("False", "", then) == "1 0 {}"


def test_another_error_is_not_swallowed():
    then = """
    try:
        loader.exec_module(module)
    except RuntimeError as error:
        print(error, len(tries))
    """
    assert fake("True", "another trouble", then) == "another trouble 1"


@pytest.mark.parametrize("first", ["segment_anything", "torchvision", "torchvision.ops"])
def test_importing_the_core_is_enough_and_loads_no_torch_by_itself(first):
    out = run(
        f"""
        import sys, naslora_core
        print("torch" in sys.modules)
        import {first}, torch, torchvision
        boxes = torch.tensor([[0., 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]])
        scores, labels = torch.tensor([.5, .9, .1]), torch.zeros(3)
        print(torchvision.ops.batched_nms(boxes, scores, labels, 0.5).tolist())
        """
    )
    assert out == "False\n[1, 2]"


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
