"""Run a lesson whose model computes on a device that is not the CPU, where there is no GPU.

    python tests/second_device.py 03 build/second_device

The device is second_device.cpp, compiled into the folder that is named.
"""

import contextlib
import dataclasses
import importlib
import os
import sys
import traceback
import types
from pathlib import Path

import torch
from torch.utils import cpp_extension

NAME = "second"


def register(build: Path) -> None:
    """Compile the device (once a folder, some 20 s) and give it its name."""
    build.mkdir(parents=True, exist_ok=True)
    source = str(Path(__file__).with_suffix(".cpp"))
    built = cpp_extension.load("second_device", [source], ["-O1"], build_directory=str(build))
    torch.utils.rename_privateuse1_backend(NAME)
    own = types.ModuleType(f"torch.{NAME}")
    own.is_available = own.is_initialized = lambda: True
    own.device_count, own.current_device = lambda: 1, lambda: 0
    own._is_in_bad_fork, own.manual_seed_all = lambda: False, lambda seed: None
    own.device = lambda place: contextlib.nullcontext()
    own.get_amp_supported_dtype = lambda: [torch.bfloat16]
    torch._register_device_module(NAME, own)
    torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)
    built.begin()


def use() -> None:
    """The profile smoke computes there. Fabric knows no such accelerator: it is told a CPU."""
    from lightning_fabric import Fabric

    from naslora_workbook.lessons import profiles

    class There(Fabric):
        device = property(lambda self: torch.device(NAME, 0))

    def single_process(device, precision="fp32"):
        return There(accelerator="cpu", devices=1)

    importlib.import_module("naslora_core.training.fitting").single_process = single_process
    profiles.PROFILES["smoke"] = dataclasses.replace(profiles.PROFILES["smoke"], device=NAME)


def run(name: str) -> None:
    """All cells of a lesson, every exercise solved; the first error is told with its cell."""
    from IPython.core.interactiveshell import InteractiveShell
    from lessons import LESSONS, code, exercises, read

    lesson = next(x for x in LESSONS if x.name.startswith(name))
    notebook, shell = read(lesson), InteractiveShell.instance(colors="nocolor")
    for exercise in exercises(notebook):
        notebook.cells[exercise.stubs[-1]].source += f"\n\n\n{exercise.solution}"
    for cell in code(notebook):
        done = shell.run_cell(cell.source, store_history=True)
        if error := done.error_before_exec or done.error_in_exec:
            print(f"\n{lesson.name}:\n{cell.source}\n", *traceback.format_exception(error)[-3:])
            raise SystemExit(1)


if __name__ == "__main__":
    os.environ |= {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    code_of_exit = 0
    try:
        register(Path(sys.argv[2]))
        use()
        run(sys.argv[1])
    except SystemExit as done:
        code_of_exit = done.code
    except Exception:
        traceback.print_exc()
        code_of_exit = 2
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code_of_exit)  # autograd's thread of a device of one's own is not joined at exit
