"""One thread a process when tests run side by side, and the real images where there are any."""

import os
from functools import partial
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import pytest

import naslora_core.sam  # noqa: F401  (heals torchvision, which torchmetrics and peft import)
import naslora_workbook.research.methods  # noqa: F401  (registers them, as the command line does)
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.training import ceilings
from naslora_workbook.results.records import measured

ROOT = Path(__file__).resolve().parents[1]
SLOW_FILES = (  # of the tests, those that take longest first; what is in them seldom changes
    "browser",
    "notebooks_run",
    "widgets",
    "house_workbook",
    "onnx_file",
    "devices",
    "pretrain",
    "planted",
    "heal",
    "gpu_table",
    "benchmark",
    "memory_planner",
    "house_wheel",
)


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="leave out SLOW_FILES")


def pytest_ignore_collect(collection_path, config):
    """Under --fast SLOW_FILES are not even imported."""
    slow = collection_path.stem.removeprefix("test_") in SLOW_FILES
    return True if config.getoption("--fast") and slow else None


def pytest_collection_modifyitems(items):
    """What one process runs: a file, or of the lessons one. Those that take longest begin first."""
    slow = {f"test_{name}": place for place, name in enumerate(SLOW_FILES)}
    costs = measured("measurements/workbook")["lessons"]

    def order(item):
        seconds = costs[lesson_of(item)]["seconds"] if lesson_of(item) else 0
        return slow.get(item.path.stem, len(slow)), -seconds

    items.sort(key=order)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(lesson_of(item) or item.path.stem))


def lesson_of(item) -> str:
    """The lesson whose execution a test reads, or ""."""
    lesson = getattr(item, "callspec", None) and item.callspec.params.get("ran")
    return lesson.name if lesson else ""


@pytest.fixture(autouse=True)
def static(monkeypatch):
    """Whatever a lesson run in this process has left behind."""
    monkeypatch.delenv("NASLORA_STATIC", raising=False)


@pytest.fixture
def quick_ceiling(monkeypatch):
    """A record's ceiling by few steps, where no test reads its number."""
    monkeypatch.setattr(ceilings, "FITS", 2)


@pytest.fixture
def small_base(monkeypatch):
    """A folded file that says sam_nano is read into `small_sam`, which says so, too."""
    from tiny import build_tiny

    monkeypatch.setitem(BUILDERS, "sam_nano", partial(build_tiny, 6))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real image sets: $NASLORA_DATA, else ../shared/data beside the project."""
    places = [os.environ.get("NASLORA_DATA"), ROOT.parent / "shared" / "data"]
    for place in places:
        if place and Path(place).is_dir():
            return Path(place)
    pytest.skip("no real images: set NASLORA_DATA to a folder of image sets")
