"""The wheel carries what the code reads: weights, recorded results, sentences, manifests."""

import shutil
import subprocess
import sys
import zipfile

from naslora_workbook.publishing.environment import ROOT

PACKAGES = ("naslora_core", "naslora_workbook")


def test_the_wheel_is_complete(tmp_path):
    source = tmp_path / "source"
    skip = shutil.ignore_patterns("__pycache__")
    for folder in (*PACKAGES, "data_manifests"):
        shutil.copytree(ROOT / folder, source / folder, ignore=skip)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), source]
    subprocess.run([sys.executable, "-m", *build], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    files = (p for package in PACKAGES for p in (ROOT / package).rglob("*") if p.is_file())
    files = {str(p.relative_to(ROOT)) for p in files if p.suffix not in (".pyc", ".md")}
    assert not files - names
    manifests = {f"naslora_core/data_manifests/{p.name}" for p in ROOT.glob("data_manifests/*.yml")}
    assert manifests and manifests <= names
