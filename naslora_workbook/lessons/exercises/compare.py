"""What differs between a learner's result and the target, as a sentence and as a picture."""

from collections.abc import Iterable

import numpy as np

from naslora_workbook.figures.operators import as_array
from naslora_workbook.figures.widgets import side_by_side

NOTHING = "Your function returned None: return the result."


def compare(target, yours, tolerance: float = 1e-5, nothing: str = NOTHING) -> str:
    """What differs, as a sentence; empty where nothing does. nothing: what is said of a None."""
    if yours is None:
        return "" if target is None else nothing
    if isinstance(target, dict):
        if not isinstance(yours, dict) or set(yours) != set(target):
            return f"A dict with the keys {', '.join(map(str, target))} was expected."
        empty = next((k for k in target if yours[k] is None and target[k] is not None), None)
        if empty is not None:
            return f"{empty!r} is None."
        said = ((k, compare(target[k], yours[k], tolerance)) for k in target)
        return next((f"{k}: {sentence}" for k, sentence in said if sentence), "")
    if _of_words(target):
        return _words(target, yours)
    if isinstance(target, list | tuple) and not _flat(target):
        if not isinstance(yours, list | tuple) or len(yours) != len(target):
            return f"{len(target)} results were expected, in this order."
        pairs = enumerate(zip(target, yours, strict=True), 1)
        said = (compare(t, y, tolerance, f"Result {i} is None.") for i, (t, y) in pairs)
        return next(filter(None, said), "")
    try:
        return _numbers(as_array(target), as_array(yours), tolerance)
    except (TypeError, ValueError):
        kinds = type(target).__name__, type(yours).__name__
        return f"A result of type {kinds[0]} was expected, yours is of type {kinds[1]}."


def _flat(values) -> bool:
    """Whether a list is a row of numbers, not of results."""
    return all(map(np.isscalar, values))


def _numbers(target: np.ndarray, yours: np.ndarray, tolerance: float) -> str:
    if yours.dtype.kind not in "biufc":
        raise TypeError("not numbers")
    if target.shape != yours.shape:
        return f"The shape should be {target.shape}, yours is {yours.shape}."
    kind = np.result_type(target, yours, float)  # so that booleans and integers subtract
    target, yours = target.astype(kind), yours.astype(kind)
    close = np.isclose(yours, target, tolerance, tolerance, equal_nan=True)
    if close.all():
        return ""
    gap = np.where(close, 0, np.nan_to_num(np.abs(yours - target), nan=np.inf, posinf=np.inf))
    at = tuple(int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
    where = f" at {list(at)}" if at else ""
    wrong = f"; {(~close).mean():.0%} of the values differ" if at else ""
    return f"Target {target[at]:.5g}{where}, yours {yours[at]:.5g}{wrong}."


def _of_words(value) -> bool:
    many = isinstance(value, list | tuple | set)
    return isinstance(value, str) or (many and all(isinstance(v, str) for v in value) and value)


def _words(target, yours) -> str:
    """Texts are compared as they are, collections of names without regard to their order."""
    if isinstance(target, str) or isinstance(yours, str) or not isinstance(yours, Iterable):
        return "" if yours == target else f"Target {target!r}, yours {yours!r}."
    yours = list(yours)  # names in whatever holds them
    found = {"missing": set(target) - set(yours), "too many": set(yours) - set(target)}
    parts = [f"{w}: {', '.join(sorted(map(str, n))[:5])}" for w, n in found.items() if n]
    return f"{'; '.join(parts).capitalize()}." if parts else ""


def picture_of(target, yours, tolerance: float = 1e-5):
    """Target, yours and difference as images on one scale; None where there is nothing to draw.

    Of several results the first that differs is drawn.
    """
    if isinstance(target, dict) and isinstance(yours, dict):
        target, yours = list(target.values()), [yours.get(k) for k in target]
    if all(isinstance(v, list | tuple) for v in (target, yours)) and not _flat(target):
        pairs = ((t, y) for t, y in zip(target, yours, strict=False) if compare(t, y, tolerance))
        target, yours = next(pairs, (target, yours))
    try:
        arrays = [as_array(v).real.astype(float) for v in (target, yours)]
    except (TypeError, ValueError):
        return None
    if any(a.size < 2 for a in arrays):
        return None
    return side_by_side(*arrays)
