"""Numbers of the command line: out of their range they are refused in one sentence."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from naslora_core.__main__ import main
from naslora_core.cli.command import COMMANDS
from naslora_core.cpu_quota import THREADS, allowed_cpus, limit_threads
from naslora_workbook.cli import build_parser


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
    code = """
import sys, naslora_core.__main__ as program
program._run = lambda words: print("line\\n" * 10_000, flush=True)
sys.exit(program.main([]))
"""
    reading, writing = os.pipe()
    os.close(reading)  # nobody reads from the first line on
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, timeout=300)
    os.close(writing)
    assert done.returncode == 141 and b"Traceback" not in done.stderr


INTERRUPTED = """
    import os, runpy, signal, sys
    class Interrupt:
        def find_spec(self, name, *_):
            if name == "{module}":
                os.kill(os.getpid(), signal.SIGINT)
    sys.meta_path.insert(0, Interrupt())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    sys.argv = ["-m", "fit", "polyp", "--steps", "1"]
    sys.orig_argv = ["python", "-m", "naslora_core", *sys.argv[1:]]
    runpy.run_module("naslora_core", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", [
    "naslora_core.torchvision_compat", "naslora_core.__main__", "naslora_core.cli", "numpy",
])  # fmt: skip
def test_an_interrupt_in_the_first_moments_is_one_line(module):
    code = textwrap.dedent(INTERRUPTED).format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Stopped")


def test_a_program_that_imports_the_core_keeps_its_own_interrupt():
    code = """
        import signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["-m"]  # as while `python -m` imports a package of yours
        import naslora_core
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)]).returncode == 0


@pytest.mark.parametrize("words, near", [
    ("fitt data", "fit"), ("predikt a b", "predict"), ("evalute", "evaluate"),
    ("predict a b --out c --overlai", "--overlay"), ("fit a --step=3 --patiance 5", "--patience"),
])  # fmt: skip
def test_a_first_mistake_is_told_with_the_nearest_name(words, near, capsys):
    assert main(words.split()) == 2
    assert capsys.readouterr().err.split("perhaps ")[1].rstrip(".\n") == near


def test_the_help_fits_a_screen_and_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 92
    assert all(name in text.replace(",", "").split() for name in COMMANDS)


def test_no_option_hides_what_the_parser_keeps_of_its_command():
    for name, (_, options, facts) in COMMANDS.items():
        given = {n.lstrip("-").replace("-", "_") for names, _ in options for n in names}
        assert not given & {"run", "command", *facts}, name


def test_a_letter_that_the_terminal_lacks_is_printed_as_an_escape():
    code = "import sys; from naslora_core.__main__ import main; sys.exit(main(['f\u00fc\u4e2d']))"
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=ascii_only)
    assert done.returncode == 2 and b"u4e2d" in done.stderr and b"Traceback" not in done.stderr


def cgroup(root: Path, version: int, *, quota: str, nested: bool) -> tuple[Path, Path]:
    """A made-up cgroup tree and this process's line of it."""
    controllers, inner = ("", "a/b") if version == 2 else ("cpu,cpuacct", "docker/x")
    folder = root / controllers / (inner.split("/")[0] if nested else "")
    folder.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} 100000\n")
    else:
        (folder / "cpu.cfs_quota_us").write_text("-1\n" if quota == "max" else f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text("100000\n")
    own = root / "own"
    own.write_text(f"4:memory:/m\n{0 if version == 2 else 3}:{controllers}:/{inner}\n")
    return root, own


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("quota, cpus", [
    ("50000", 1), ("200000", 2), ("250000", 3), ("max", 64), ("9900000", 64),
])  # fmt: skip
def test_threads_follow_the_quota_of_a_container(
    tmp_path, monkeypatch, version, quota, cpus, nested
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert allowed_cpus(*cgroup(tmp_path, version, quota=quota, nested=nested)) == cpus


def test_threads_that_are_set_stay_and_others_are_told(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "5"})
    assert limit_threads(2) == "" and os.environ == {"OMP_NUM_THREADS": "5"}
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=(seen := []).append))
    assert "2" in limit_threads(2) and os.environ["OMP_NUM_THREADS"] == "2" and seen == [2]
    assert limit_threads(64) == ""


@pytest.mark.parametrize("kernel", [True, False])
def test_the_kernel_of_a_lesson_takes_as_many_threads_as_it_may(kernel):
    code = f"""
        import os, sys, types
        os.cpu_count, os.sched_getaffinity = lambda: 64, lambda _: {{0, 1, 2}}
        if {kernel}:
            sys.modules["ipykernel"] = types.ModuleType("ipykernel")
        import naslora_workbook
        print(os.environ.get("OMP_NUM_THREADS"))
    """
    alone = {k: v for k, v in os.environ.items() if k not in THREADS}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=alone
    )
    few = int(done.stdout) <= 3 if kernel else done.stdout == "None\n"
    assert few and ("CPUs" in done.stderr) == kernel
