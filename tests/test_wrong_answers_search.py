"""Lessons 07 to 13: every exercise answers the common mistakes with a sentence that helps."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from naslora_core.search.schedule import joint
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises import lesson_08
from naslora_workbook.lessons.exercises.lesson_07 import reference_alarm


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def mixed(kernels, weights, before=0.5):
    """The answer of 7.1; before: share of the missing taps that stand before the kernel."""
    side, out = max(k.shape[-1] for k in kernels), 0
    for weight, kernel in zip(weights, kernels, strict=True):
        first = int((side - kernel.shape[-1]) * before)
        out = out + weight * F.pad(kernel, (first, side - kernel.shape[-1] - first) * 2)
    return out


def shuffled(Wd, groups):
    return Wd.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def unaware_of(fault):
    def alarm(mixer, z):
        found = reference_alarm(mixer, z)
        return "honest" if found == fault else found

    return alarm


def differences(loss, alpha, ahead, behind, over):
    steps = torch.eye(len(alpha), dtype=alpha.dtype)
    pairs = [(loss(alpha + ahead * s), loss(alpha - behind * s)) for s in steps]
    return torch.stack([(up - down) / over for up, down in pairs])


def in_place(loss, alpha, h):
    alpha += 1
    return differences(loss, alpha - 1, h, h, 2 * h)


def unaware_of_8_3(bug):
    def alarm(search, a, b):
        found = lesson_08.reference_alarm(search, a, b)
        return "honest" if found == bug else found

    return alarm


# exercise, the mistake, the answer, a word of what it is told
WRONG = [
    ("7.1", "kernels in a corner", lambda k, w: mixed(k, w, before=0), "belongs in the centre"),
    ("7.1", "a second softmax", lambda k, w: mixed(k, w.softmax(0)), "second"),
    ("7.1", "weights detached", lambda k, w: mixed(k, w.detach()), "weights get no gradient"),
    ("7.1", "kernels detached", lambda k, w: mixed([a.detach() for a in k], w), "kernels get no"),
    ("7.1", "everything detached", lambda k, w: mixed(k, w).detach(), "nothing gets a gradient"),
    ("7.1", "no weights", lambda k, w: mixed(k, torch.ones_like(w)), "without their weights"),
    ("7.1", "nothing returned", lambda k, w: None, "returned None"),
    ("7.2", "shuffled twice", shuffled, "inverse"),
    ("7.2", "Wd as it is", lambda Wd, groups: Wd, "order of its columns"),
    ("7.2", "rows instead of columns", lambda Wd, groups: Wd.flip(0), "column of Wd"),
    ("7.3", "alpha never moved", unaware_of("no softmax"), "add a constant"),
    ("7.3", "border not compared", unaware_of("border"), "compare the border"),
    ("7.3", "always honest", lambda mixer, z: "honest", "compare the border"),
    ("8.1", "one side only", lambda f, a, h: differences(f, a, h, 0, h), "one-sided"),
    ("8.1", "divided by h", lambda f, a, h: differences(f, a, h, h, h), "divide by 2h"),
    ("8.1", "alpha moved", in_place, "in place"),
    ("8.1", "nothing returned", lambda f, a, h: None, "returned None"),
    ("8.2", "too many steps", lambda passes: joint(2 * passes, 0.01), "more than 120"),
    ("8.2", "the default rates", lambda passes: joint(passes, 0.01), "says"),
    ("8.2", "no schedule", lambda passes: "joint", "no Schedule"),
    ("8.3", "no constant added", unaware_of_8_3("no softmax"), "Add a constant"),
    ("8.3", "half a not tested", unaware_of_8_3("same half"), "half b of zeros"),
    ("8.3", "decay not tested", unaware_of_8_3("coupled decay"), "both halves zero"),
    ("8.3", "always honest", lambda search, a, b: "honest", "half b of zeros"),
]  # fmt: skip


@pytest.mark.parametrize(
    "number, mistake, answer, told", WRONG, ids=[f"{n} {m}" for n, m, *_ in WRONG]
)
def test_a_common_mistake_is_answered(number, mistake, answer, told):
    verdict = getattr(checks, f"ex_{number.replace('.', '_')}")(answer)
    print(f"| {number} | {mistake} | {verdict.sentence} |")
    assert verdict.state == checks.WRONG and told in verdict.sentence


def test_every_exercise_has_wrong_answers():
    asked = [n for n in checks.exercises() if 7 <= float(n.split(".")[0]) <= 8]
    counts = Counter(number for number, *_ in WRONG)
    assert [number for number in asked if counts[number] < 2] == []
