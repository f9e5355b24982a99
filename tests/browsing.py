"""A real Chromium, and a JupyterLab on loopback that it can work in."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SHOTS = Path(__file__).parents[1] / "build" / "screenshots"


def chromium() -> str:
    """Its program; skipped with a reason where there is none, an error in CI, which installs it."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found and os.environ.get("CI"):
        pytest.fail(f"CI found none of {', '.join(NAMES)}; .ci/run installs one")
    return found or pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is on the PATH")


@contextlib.contextmanager
def browser():
    """A headless Chromium, driven by playwright."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@contextlib.contextmanager
def jupyterlab(folder: Path, home: Path):
    """A JupyterLab over a folder; the address of a notebook, to be filled with its name, in a
    workspace of its own. All cells stay in the page."""
    settings = home / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    news = home / "settings" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    (news / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    words = [
        "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True", f"--LabApp.user_settings_dir={home / 'settings'}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    environment = os.environ | {"JUPYTER_PREFER_ENV_PATH": "1", "HOME": str(home)}
    environment.pop("NASLORA_STATIC", None)
    log = (home / "jupyter.log").open("w")
    command = [sys.executable, "-m", "jupyterlab", *words]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{address}/api?token={token}", process, home / "jupyter.log")
        yield f"{address}/lab/workspaces/{{0}}/tree/{{0}}.ipynb?token={token}"
    finally:
        process.terminate()
        process.wait(20)


def _wait(address: str, process, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2):
            return
        time.sleep(0.3)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def run_all(page, timeout: float) -> None:
    """Run every cell of the open notebook, and wait until none is waiting."""
    page.wait_for_function("() => window.jupyterapp !== undefined", timeout=90_000)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
    page.wait_for_function(READY, timeout=90_000)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    page.wait_for_function(DONE, timeout=timeout * 1000)


READY = """() => {
    const session = window.jupyterapp.shell.currentWidget?.sessionContext?.session;
    return session?.kernel?.status === 'idle' && session.kernel.connectionStatus === 'connected';
}"""

DONE = """() => {
    const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
    const said = cells.map(c => c.querySelector('.jp-InputPrompt').textContent);
    const failed = document.querySelector('.jp-OutputArea-output[data-mime-type*="error"]');
    return failed || (said.length > 5 && said.every(t => /\\[\\d+\\]/.test(t)));
}"""
