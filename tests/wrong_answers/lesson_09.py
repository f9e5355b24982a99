"""Wrong answers of lesson 09."""

import numpy as np

from naslora_workbook.lessons.exercises.lesson_09 import reference_alarm
from wrong_answers import Wrong


def steps(p, alpha_lr, n):
    return np.log((n - 1) * p / (1 - p)) / (2 * alpha_lr)


def one_rate_apart(p, alpha_lr, n):
    return max(0, int(np.floor(2 * steps(p, alpha_lr, n))) + 1)


def rounded_down(p, alpha_lr, n):
    return max(0, int(np.floor(steps(p, alpha_lr, n))))


def of_n_others(p, alpha_lr, n):
    return max(0, int(np.floor(steps(p, alpha_lr, n + 1))) + 1)


def negative(p, alpha_lr, n):
    return int(np.floor(steps(p, alpha_lr, n))) + 1


def walk(alpha):
    moves = np.diff(alpha, axis=0, prepend=np.zeros_like(alpha[:1]))
    return np.abs(alpha[-1]).sum() / np.abs(moves).sum()


def without_the_first_step(p):
    alpha = np.log(p) - np.log(p).mean(-1, keepdims=True)
    return np.abs(alpha[-1] - alpha[0]).sum() / np.abs(np.diff(alpha, axis=0)).sum()


def uncentred(p):
    return walk(np.log(p))


def of_probabilities(p):
    return walk(p - p.mean(-1, keepdims=True))


def upside_down(p):
    return 1 / walk(np.log(p) - np.log(p).mean(-1, keepdims=True))


def unaware_of(fault):
    """The answer of 9.3 that does not find this fault."""

    def alarm(trainer, stages):
        found = reference_alarm(trainer, stages)
        return "honest" if found == fault else found

    return alarm


def without_copies(trainer, stages):
    before = trainer.model.state_dict()
    for stage in stages:
        trainer.run(stage)
    after = trainer.model.state_dict()
    return "left out" if before["arch_alpha"].equal(after["arch_alpha"]) else "honest"


WRONG = [
    Wrong("9.1", "logits t lr apart", "2 t lr apart, not", (one_rate_apart,)),
    Wrong("9.1", "rounded down", "one step short", (rounded_down,)),
    Wrong("9.1", "n others", "n - 1, not", (of_n_others,)),
    Wrong("9.1", "a negative number of steps", "below uniform", (negative,)),
    Wrong("9.2", "the first step left out", "first step", (without_the_first_step,)),
    Wrong("9.2", "not centred", "Centre every row", (uncentred,)),
    Wrong("9.2", "probabilities instead of alpha", "logarithm", (of_probabilities,)),
    Wrong("9.2", "upside down", "other way round", (upside_down,)),
    Wrong("9.3", "warm-up not tested", "during warm-up", (unaware_of("too early"),)),
    Wrong("9.3", "settling not tested", "last stage", (unaware_of("too late"),)),
    Wrong("9.3", "a still alpha accepted", "fault as well", (unaware_of("left out"),)),
    Wrong("9.3", "no copies", "clone", (without_copies,)),
]
