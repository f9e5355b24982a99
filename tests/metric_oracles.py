"""What py-sod-metrics answers on fixed images, kept beside this file as metric_oracles.json.

It drags in OpenCV and holds numpy back, so it is no dependency of the tests. To write anew:

    pip install --no-deps --target FOLDER pysodmetrics
    PYTHONPATH=FOLDER python tests/metric_oracles.py

With the same PYTHONPATH the tests compare with it live, on images that hypothesis draws.
"""

import importlib.util
import json
import platform
import sys
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path
from unittest.mock import MagicMock, patch

import numpy as np
import scipy

from naslora_core.training.metrics import mae
from naslora_workbook.research.structure_metrics import e_measure, s_measure, weighted_f

KEPT = Path(__file__).with_suffix(".json")
OURS = {"mae": mae, "s_measure": s_measure, "weighted_f": weighted_f, "e_measure": e_measure}
Case = tuple[np.ndarray, np.ndarray]  # probabilities and truth, `H W`


def cases() -> dict[str, Case]:
    """Random, empty, full, tiny, thin and soft images; RandomState's stream never changes."""
    return _drawn() | _noise()


def _drawn() -> dict[str, Case]:
    """Every pair of a few shapes on 40 x 33 pixels, hard and soft."""
    y, x = np.mgrid[:40, :33].astype(float)
    distance = np.hypot(y - 18, x - 14)
    shapes = {
        "empty": y < 0,
        "full": y >= 0,
        "disc": distance < 9,
        "square": (abs(y - 12) < 7) & (abs(x - 20) < 7),
        "pixel": (y == 17) & (x == 9),
        "corner": (y == 39) & (x == 32),  # its lower and right quarters are empty
        "line": x == 20,
        "diagonal": x == y,
        "frame": (np.minimum(y, 39 - y) < 2) | (np.minimum(x, 32 - x) < 2),
    }
    soft = {
        "ramp": x / 32,
        "glow": np.clip(1.2 - distance / 16, 0, 1),
        "half": np.full(x.shape, 0.5),
        "faint": 0.2 * shapes["square"] + 0.1,
    }
    drawn = {name: mask.astype(float) for name, mask in shapes.items()} | soft
    return {f"{p} for {t}": (drawn[p], shapes[t]) for p in drawn for t in shapes}


def _noise() -> dict[str, Case]:
    found = {}
    for i, shape in enumerate([(1, 1), (1, 2), (2, 2), (1, 9), (7, 1), (5, 8), (31, 31), (64, 48)]):
        rng = np.random.RandomState(i)
        for share in (0.05, 0.5, 0.95):
            case = rng.random_sample(shape), rng.random_sample(shape) < share
            found[f"noise {shape[0]} x {shape[1]}, {share}"] = case
    return found


def importable() -> bool:
    """Whether py-sod-metrics is on the path."""
    return importlib.util.find_spec("py_sod_metrics") is not None


@cache
def load():
    """py-sod-metrics; OpenCV and scikit-learn, where absent, as mocks while it is imported.

    The four measures use neither.
    """
    parts = ("cv2", "sklearn", "sklearn.neighbors", "sklearn.preprocessing")
    absent = [p for p in parts if importlib.util.find_spec(p.partition(".")[0]) is None]
    with patch.dict(sys.modules, {name: MagicMock() for name in absent}):
        return importlib.import_module("py_sod_metrics")


def answers(sod, probability: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The four measures of one image by py-sod-metrics, nothing stretched."""
    measures = {
        "mae": sod.MAE(),
        "s_measure": sod.Smeasure(),
        "weighted_f": sod.WeightedFmeasure(beta=0.3),
        "e_measure": sod.Emeasure(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for measure in measures.values():
            measure.step(probability, truth, normalize=False)
        found = {name: list(m.get_results().values())[0] for name, m in measures.items()}
    found["e_measure"] = found["e_measure"]["curve"].mean()
    return {name: float(value) for name, value in found.items()}


def outside(name: str, answer: float, probability: np.ndarray, truth: np.ndarray) -> float | None:
    """The oracle's answer, or ours by definition where we chose another: the whole list.

    None: nothing to compare with, the oracle has nan.
    """
    if name == "weighted_f" and not truth.any() and not probability.any():
        return 1.0  # it has 0
    if name == "e_measure" and truth.size == 1:
        return answer * np.spacing(1)  # it divides by the pixels less one
    return None if np.isnan(answer) else answer


def kept() -> dict:
    """The file: versions, and the answers of every case."""
    return json.loads(KEPT.read_text())


def write() -> None:
    """Ask py-sod-metrics about every case and keep what it says."""
    sod = load()
    versions = {"pysodmetrics": version("pysodmetrics"), "python": platform.python_version()}
    versions |= {"numpy": np.__version__, "scipy": scipy.__version__}
    found = {name: answers(sod, *case) for name, case in cases().items()}
    KEPT.write_text(json.dumps({"versions": versions, "answers": found}, indent=0) + "\n")


if __name__ == "__main__":
    write()
