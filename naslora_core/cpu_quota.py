"""How many CPUs this process may use, and as many threads for PyTorch.

A container (Binder, Docker, Kubernetes) may have a share of one CPU on a host of sixty. PyTorch
counts the host's, and sixty threads that take turns on one CPU are many times slower than one.
"""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def allowed_cpus(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """CPUs that the affinity and the cgroup's quota (version 1 or 2) leave, at least 1."""
    here = getattr(os, "sched_getaffinity", None)
    cpus = len(here(0)) if here else os.cpu_count() or 1
    return max(1, math.ceil(min(cpus, *map(_quota, _folders(root, own)))))


def _folders(root: Path, own: Path) -> list[Path]:
    """The cgroup folders that limit this process: its own and all above it."""
    found = [root, root / "cpu", root / "cpu,cpuacct"]
    lines = own.read_text().splitlines() if own.is_file() else []
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") > 1):
        place = root / controllers / path.strip("/")
        found += [place, *(p for p in place.parents if p.is_relative_to(root))]
    return found


def _quota(folder: Path) -> float:
    """CPUs of one cgroup: cpu.max has "QUOTA PERIOD" in microseconds (version 2), or two files have
    them (version 1); "max" and -1 are no limit."""
    for names in ("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
        with suppress(OSError):
            words = " ".join((folder / name).read_text() for name in names).split()
            if len(words) == 2 and all(word.isdigit() for word in words):
                return int(words[0]) / int(words[1])
    return math.inf


def limit_threads(cpus: int | None = None) -> str:
    """Give PyTorch as many threads as there are CPUs to use; a sentence where those are fewer than
    the host's, or "". A number of threads that you have set (OMP_NUM_THREADS) stays."""
    cpus, host = cpus or allowed_cpus(), os.cpu_count() or 1
    if cpus >= host or any(name in os.environ for name in THREADS):
        return ""
    os.environ.update(dict.fromkeys(THREADS, str(cpus)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(cpus)
    return f"{cpus} of the host's {host} CPUs are this process's to use: {cpus} thread(s)."
