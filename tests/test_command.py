"""Numbers of the command line: out of their range they are refused in one sentence."""

import os
import subprocess
import sys

import pytest

from naslora_core.cli import build_parser


@pytest.mark.parametrize("words, told", [
    ("evaluate a b --batch 0", "--batch: 0 is not a whole number from 1; give one"),
    ("evaluate a b --batch -1", "--batch: -1 is not a whole number from 1"),
    ("evaluate a b --worst -1", "--worst: -1 is not a whole number from 0"),
    ("fit a --seed -1", "--seed: -1 is not a whole number from 0"),
    ("fit a --steps 2.5", "--steps: 2.5 is not a whole number from 1"),
    ("fit a --lr -1", "--lr: -1 is not a number above 0"),
    ("fit a --lr nan", "--lr: nan is not a number above 0"),
    ("fit a --lr inf", "--lr: inf is not a number above 0"),
    ("fit a --patience 0", "--patience: 0 is not a whole number from 1"),
    ("plan sam_nano --card 0", "--card: 0 is not a number above 0"),
    ("compare a --seeds 0 -1", "--seeds: -1 is not a whole number from 0"),
    ("compare a --lr 1e-3 0", "--lr: 0 is not a number above 0"),
])  # fmt: skip
def test_a_number_out_of_its_range_is_refused(words, told, capsys):
    with pytest.raises(SystemExit) as end:
        build_parser().parse_args(words.split())
    assert end.value.code == 2 and told in capsys.readouterr().err


def test_numbers_in_their_range_are_taken():
    a = build_parser().parse_args("fit a --lr 1e-3 --seed 0 --validate-every 0 --batch 1".split())
    assert (a.lr, a.seed, a.validate_every, a.batch) == (1e-3, 0, 0, 1)


def test_a_reader_that_has_had_enough_ends_a_command_without_a_traceback():
    words = [sys.executable, "-m", "naslora_core", "plan", "sam_nano", "--method", "lora"]
    reading, writing = os.pipe()
    os.close(reading)  # nobody reads from the first line on
    done = subprocess.run(
        [*words, "--no-time"], stdout=writing, stderr=subprocess.PIPE, timeout=300
    )
    os.close(writing)
    assert done.returncode == 141 and b"Traceback" not in done.stderr
