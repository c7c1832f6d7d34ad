"""For tools that ask for a setup.py. The metadata is in pyproject.toml; Python 3.12: requirements-py312.txt."""

from setuptools import setup

setup()
