"""Wrong answers of lesson 08."""

import torch

from naslora_core.search.schedule import joint
from naslora_workbook.lessons.exercises.lesson_08 import reference_alarm
from wrong_answers import Wrong


def differences(loss, alpha, ahead, behind, over):
    """Differences of the loss over steps ahead and behind, divided by `over`."""
    steps = torch.eye(len(alpha), dtype=alpha.dtype)
    pairs = [(loss(alpha + ahead * s), loss(alpha - behind * s)) for s in steps]
    return torch.stack([(up - down) / over for up, down in pairs])


def one_sided(loss, alpha, h):
    return differences(loss, alpha, h, 0, h)


def divided_by_h(loss, alpha, h):
    return differences(loss, alpha, h, h, h)


def in_place(loss, alpha, h):
    alpha += 1
    return differences(loss, alpha - 1, h, h, 2 * h)


def returns_nothing(loss, alpha, h):
    one_sided(loss, alpha, h)


def too_many_steps(passes):
    return joint(2 * passes, 0.01)


def default_rates(passes):
    return joint(passes, 0.01)


def no_schedule(passes):
    return "joint"


def unaware_of(bug):
    """The answer of 8.3 that does not find this bug."""

    def alarm(search, a, b):
        found = reference_alarm(search, a, b)
        return "honest" if found == bug else found

    return alarm


def decay_taken_for_half_a(search, a, b):
    found = reference_alarm(search, a, b)
    return "same half" if found == "coupled decay" else found


WRONG = [
    Wrong("8.1", "one side only", "one-sided", (one_sided,)),
    Wrong("8.1", "divided by h", "divide by 2h", (divided_by_h,)),
    Wrong("8.1", "alpha changed", "in place", (in_place,)),
    Wrong("8.1", "no return", "returned None", (returns_nothing,)),
    Wrong("8.2", "too many steps", "more than 120", (too_many_steps,)),
    Wrong("8.2", "the default rates", "argmax conv_1x1", (default_rates,)),
    Wrong("8.2", "no schedule", "no Schedule", (no_schedule,)),
    Wrong("8.3", "no constant added", "Add a constant", (unaware_of("no softmax"),)),
    Wrong("8.3", "half a not tested", "half b of zeros", (unaware_of("same half"),)),
    Wrong("8.3", "decay not tested", "both halves zero", (unaware_of("coupled decay"),)),
    Wrong("8.3", "decay taken for half a", "that is decay", (decay_taken_for_half_a,)),
]
