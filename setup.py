"""Only what pyproject.toml cannot say: the manifests at the root travel inside the package."""

from setuptools import find_namespace_packages, setup

found = find_namespace_packages(
    include=["naslora_core*", "naslora_workbook*"], exclude=["*__pycache__*"]
)
setup(
    packages=[*found, "naslora_core.data_manifests"],
    package_dir={"naslora_core.data_manifests": "data_manifests"},
)
