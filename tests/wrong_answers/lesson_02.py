"""Wrong answers of lesson 02."""

from wrong_answers import Wrong


def square(rank, dim, blocks):
    return blocks * rank * 2 * dim


def one_block(rank, dim, blocks):
    return rank * 4 * dim


def dense(rank, dim, blocks):
    return blocks * 3 * dim * dim


def by_name(model):
    return [n for n, _ in model.named_parameters() if "We" in n or "Wd" in n]


def everything(model):
    return [n for n, _ in model.named_parameters()]


def encoder_only(model):
    return [n for n, p in model.named_parameters() if p.requires_grad and "encoder" in n]


WRONG = [
    Wrong("2.1", "Wd with d outputs", "3 dim", (square,)),
    Wrong("2.1", "one block", "every block", (one_block,)),
    Wrong("2.1", "a dense matrix", "thin", (dense,)),
    Wrong("2.2", "the adapter's names alone", "adapter's names alone", (by_name,)),
    Wrong("2.2", "every parameter", "frozen base", (everything,)),
    Wrong("2.2", "the encoder alone", "the encoder's trained", (encoder_only,)),
]
