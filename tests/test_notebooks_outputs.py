"""The committed outputs are what the lessons print now (nbval; sanitize.cfg says what may vary)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lessons import LESSONS, NAMES

HERE = Path(__file__).parent
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)


def compare(lesson, **variables: str) -> None:
    """Re-execute one lesson and compare every output but the pictures."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    static = {"NASLORA_STATIC": "panel", "JUPYTER_PREFER_ENV_PATH": "1"}
    words = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=600", "-q", "--no-header"]
    rules = ["--nbval-sanitize-with", str(HERE / "sanitize.cfg"), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *words, *rules, str(lesson.path)]
    env = inherited | static | variables
    done = subprocess.run(
        command, cwd=HERE.parent, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@each_lesson
def test_outputs_are_reproduced(lesson):
    compare(lesson)


@pytest.mark.weekly
@each_lesson
def test_outputs_are_reproduced_on_an_older_processor(lesson):
    compare(lesson, ATEN_CPU_CAPABILITY="default", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
