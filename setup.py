"""Only what pyproject.toml cannot say: the manifests at the root travel inside the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["naslora_core*"]), "naslora_core.data_manifests"],
    package_dir={"naslora_core.data_manifests": "data_manifests"},
)
