"""A shim: pyproject.toml is the truth."""

from setuptools import setup

setup()
