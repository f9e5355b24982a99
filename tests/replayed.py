"""A plugin for pytest: nbval compares a notebook that papermill has executed already.

`pytest -p replayed --nbval LESSON.ipynb`, with NASLORA_EXECUTED naming the executed copy. nbval
takes the outputs of its cells, in order, instead of starting a kernel.
"""

import os

import nbformat
from nbval import plugin


class Replay:
    """Stands in for nbval's kernel; the executed notebook may have more cells than the compared."""

    def __init__(self, *_, **__):
        notebook = nbformat.read(os.environ["NASLORA_EXECUTED"], 4)
        self.cells = iter([c for c in notebook.cells if c.cell_type == "code"])
        self.messages = iter(())

    def execute_cell_input(self, source: str, allow_stdin=None) -> str:
        """Find the next cell of this source; its outputs, then that the kernel is idle."""
        outputs = next(c for c in self.cells if c.source == source).outputs
        said = [(o.output_type, o) for o in outputs]
        said.append(("status", {"execution_state": "idle"}))
        header = {"parent_header": {"msg_id": "replayed"}}
        self.messages = iter([header | {"msg_type": kind, "content": o} for kind, o in said])
        return "replayed"

    def get_message(self, stream, timeout=None) -> dict:
        """The next message of the cell."""
        return next(self.messages)

    def is_alive(self) -> bool:
        """Whether cells can be asked for."""
        return True

    def await_reply(self, *_, **__) -> None:
        """Nothing to wait for."""

    await_idle = interrupt = stop = await_reply


plugin.RunningKernel = Replay
