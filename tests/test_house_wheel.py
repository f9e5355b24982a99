"""The wheel carries what the code reads: weights, recorded results, templates, manifests."""

import shutil
import subprocess
import sys
import zipfile

from naslora_core.house.environment import ROOT

NEEDED = (
    "naslora_core/weights/sam_nano.safetensors",
    "naslora_core/weights/sam_nano.json",
    "naslora_core/house/templates/index.html.j2",
    "naslora_core/viz/templates/naslora/index.html.j2",
    "naslora_core/data_manifests/models.yml",
)


def test_the_wheel_is_complete(tmp_path):
    source = tmp_path / "source"
    skip = shutil.ignore_patterns("__pycache__")
    for folder in ("naslora_core", "data_manifests"):
        shutil.copytree(ROOT / folder, source / folder, ignore=skip)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), source]
    subprocess.run([sys.executable, "-m", *build], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert [n for n in NEEDED if n not in names] == []
    recorded = {str(p.relative_to(ROOT)) for p in (ROOT / "naslora_core/recorded").rglob("*.json")}
    assert recorded <= names
