"""What the kernels of lessons inherit, how much memory they take, and where a lesson stopped."""

import os
import threading
from contextlib import AbstractContextManager

import psutil

from naslora_core.cpu_quota import allowed_cpus

KERNEL = "python3"
QUIET = ["--IPKernelApp.log_level=ERROR"]  # kernels here listen on this machine only


def prepare_kernels(sliders: str) -> None:
    """This environment's kernel, all CPUs that it may use, no widget that needs a kernel.

    sliders: `panel` for small multiples, `frames` for pictures baked under a slider.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(allowed_cpus()))
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    os.environ["NASLORA_STATIC"] = sliders


class PeakMemory(AbstractContextManager):
    """`with PeakMemory() as peak: ...`, then `peak.mb`: resident MB of all child processes at their
    worst moment together, sampled ten times a second; shared pages count once for each."""

    def __init__(self):
        self.mb, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __exit__(self, *error) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._done.wait(0.1):
            self.mb = max(self.mb, sum(map(_resident, me.children(recursive=True))) / 1e6)


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0


def stopping_point(notebook) -> str:
    """The code cell that failed, numbered as the lesson shows it, its first line and its error."""
    code = [c for c in notebook.cells if c.cell_type == "code"]
    own = [c for c in code if "injected-parameters" not in c.metadata.get("tags", [])]
    for number, cell in enumerate(own, 1):
        place = f"cell [{number}] `{_first(cell.source)}`"
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"{place}: {output.ename}: {_first(output.evalue)}"
        if cell.source.strip() and cell.execution_count is None:
            return f"{place}: its process ended (often: out of memory)"
    return "after its last cell"


def _first(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
