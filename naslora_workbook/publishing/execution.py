"""What the kernels of lessons inherit, and where a lesson stopped."""

import os

KERNEL = "python3"
QUIET = ["--IPKernelApp.log_level=ERROR"]  # kernels here listen on this machine only


def prepare_kernels(sliders: str) -> None:
    """This environment's kernel, all cores unless told otherwise, no widget that needs a kernel.

    sliders: `panel` for small multiples, `frames` for pictures baked under a slider.
    """
    count = getattr(os, "sched_getaffinity", None)
    os.environ.setdefault("OMP_NUM_THREADS", str(len(count(0)) if count else os.cpu_count()))
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    os.environ["NASLORA_STATIC"] = sliders


def stopping_point(notebook) -> str:
    """The code cell that failed, numbered as the lesson shows it, its first line and its error."""
    own = [c for c in notebook.cells if c.cell_type == "code" and not _injected(c)]
    for number, cell in enumerate(own, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"{_place(number, cell)}: {output.ename}: {_first(output.evalue)}"
    for number, cell in enumerate(own, 1):
        if cell.source.strip() and cell.execution_count is None:
            return f"{_place(number, cell)}: its process ended (often: out of memory)"
    return "after its last cell"


def _place(number: int, cell) -> str:
    return f"cell [{number}] `{_first(cell.source)}`"


def _first(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _injected(cell) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])
