"""Lessons whose model is not on the CPU: what a GPU would refuse is refused here."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from lessons import LESSONS, NAMES, exercises, read

SCRIPT = Path(__file__).with_name("second_device.py")
HEADER = Path(sysconfig.get_paths()["include"]) / "Python.h"
TOOLS = shutil.which("ninja") and shutil.which("c++") and HEADER.exists()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TOOLS, reason="compiling needs c++, ninja and Python.h"),
]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return tmp_path_factory.mktemp("second_device")


def ran(*words, **more) -> subprocess.CompletedProcess:
    words = [sys.executable, *map(str, words)]
    environment = os.environ | {k: str(v) for k, v in more.items()}
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=900)


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_a_lesson_computes_where_its_model_is(lesson, build, tmp_path):
    done = ran(SCRIPT, lesson.name, build, NASLORA_SOLVED=tmp_path / "solved.json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-500:]
    solved = json.loads((tmp_path / "solved.json").read_text())
    assert solved == [exercise.number for exercise in exercises(read(lesson))]  # there, too


def test_the_device_refuses_what_a_gpu_refuses(build):
    program = (
        f"import sys, os; from pathlib import Path; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        f"import torch, second_device; second_device.register(Path({str(build)!r}))\n"
        "x, bad = torch.ones(2, 2, device='second'), 0\n"
        "for wrong in (lambda: x @ torch.ones(2, 2), lambda: x + torch.ones(2), x.numpy):\n"
        "    try: wrong()\n"
        "    except (RuntimeError, TypeError): bad += 1\n"
        "print(bad, (x + torch.tensor(1)).sum().item(), flush=True); os._exit(0)"
    )
    assert ran("-c", program).stdout.split() == ["3", "8.0"]
