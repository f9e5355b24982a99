"""Wrong answers of lesson 12."""

import numpy as np

from wrong_answers import Wrong


def conv_lora(d, L, p, r, M, experts, gates):
    return L * p * d, L * (4 * r * d + experts + gates)


def without_a_gate(d, L, p, r, M):
    return conv_lora(d, L, p, r, M, M * (9 * r * r + r), 0)


def one_gate(d, L, p, r, M):
    return conv_lora(d, L, p, r, M, M * (9 * r * r + r), r * M)


def without_bias(d, L, p, r, M):
    return conv_lora(d, L, p, r, M, M * 9 * r * r, 2 * r * M)


def one_block(d, L, p, r, M):
    return conv_lora(d, 1, p, r, M, M * (9 * r * r + r), 2 * r * M)


def d_outputs(d, L, p, r, M):
    return L * p * d, L * (2 * r * d + M * (9 * r * r + r) + 2 * r * M)


def unpaired(a, b, picks):
    means = a.mean(0)[picks].mean(1) - b.mean(0)[picks[::-1]].mean(1)
    return np.quantile(means, [0.025, 0.975])


def ninety_percent(a, b, picks):
    return np.quantile((a - b).mean(0)[picks].mean(1), [0.05, 0.95])


def of_images(a, b, picks):
    return np.quantile((a - b).mean(0)[picks], [0.025, 0.975])


def the_other_sign(a, b, picks):
    return np.quantile((b - a).mean(0)[picks].mean(1), [0.025, 0.975])


def by_split(by, failed, told="test"):
    """An answer of 12.3 whose rate `by` chooses, with or without the failed runs."""

    def answer(records):
        tried = {}
        for r in records:
            if failed or r["test"] > 0:
                tried.setdefault(r["method"], {}).setdefault(r["lr"], []).append((r[by], r[told]))
        return {
            m: float(max(np.mean(v, 0).tolist() for v in of.values())[1]) for m, of in tried.items()
        }

    return answer


WRONG = [
    Wrong("12.1", "no gate", "gate is missing", (without_a_gate,)),
    Wrong("12.1", "one gate", "second gate matrix", (one_gate,)),
    Wrong("12.1", "no bias", "the biases", (without_bias,)),
    Wrong("12.1", "one block", "multiply by L", (one_block,)),
    Wrong("12.1", "Wd to d", "3 d outputs", (d_outputs,)),
    Wrong("12.2", "unpaired", "different images", (unpaired,)),
    Wrong("12.2", "a 90 % interval", "each side", (ninety_percent,)),
    Wrong("12.2", "single images", "single images", (of_images,)),
    Wrong("12.2", "b - a", "b - a", (the_other_sign,)),
    Wrong("12.3", "the test split chooses", "still chooses", (by_split("test", True),)),
    Wrong("12.3", "failed runs left out", "left out", (by_split("val", False),)),
    Wrong("12.3", "nothing changed", "Nothing has changed", (by_split("test", False),)),
    Wrong("12.3", "val reported", "not its test", (by_split("val", True, "val"),)),
]
