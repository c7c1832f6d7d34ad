"""Package metadata. Python 3.12 takes another route: requirements-py312.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "lavis_tldr/__init__.py").read_text()).group(1)
README = ROOT / "README.md"
BELOW_312 = "python_version < '3.12'"
FROM_312 = "python_version >= '3.12'"

setup(
    name="lavis_tldr",
    version=VERSION,
    description="TL;DR data reduction for Salesforce LAVIS: a small, aligned set out of a large, noisy one",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    python_requires=">=3.10",
    # LAVIS's wheel installs top-level packages app, docs, projects and tests; ours must add none to them.
    packages=find_packages(include=["lavis_tldr", "lavis_tldr.*"]),
    package_data={"lavis_tldr": ["configs/**/*"]},
    install_requires=[
        # On 3.12 LAVIS's pinned transformers cannot be installed; there it comes by `pip install --no-deps`.
        f"salesforce-lavis==1.0.2; {BELOW_312}",
        f"numpy<2; {BELOW_312}",  # the OpenCV that LAVIS pins was built on numpy 1
        f"numpy; {FROM_312}",
        "torch",
        "torchvision",
        "transformers",
        "timm==0.4.12",
        "faiss-gpu>=1.8",  # k-means; runs on a CPU too
        "nltk",  # keywords for the codebook
        "omegaconf",
        "decord",
        f"pyarrow<26; {BELOW_312}",  # ledger and codes are Parquet; 26 refuses numpy 1 without telling pip
        f"pyarrow; {FROM_312}",
        "filelock>=3.32",  # it neither deletes the lock file itself nor holds on in a fork
        "scipy",
        "safetensors",  # local weight files
        "pillow",
        "tqdm",
        "pycocoevalcap",  # CIDEr and BLEU
        "matplotlib",  # plots of ablations
    ],
    # `datasets` reads the Parquet export back; 4.4 goes with what LAVIS pins.
    extras_require={"test": ["pytest", "hypothesis", "ruff", "datasets>=4,<4.5"]},
    entry_points={"console_scripts": ["lavis-tldr=lavis_tldr.cli:main"]},
)
