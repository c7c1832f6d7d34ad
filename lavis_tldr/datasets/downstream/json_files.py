"""JSON files of downstream sets, read and made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lavis_tldr.files import open_whole


def read_json(path: Path, remedy: str = "") -> Any:
    """A JSON file's content.

    Args:
        path: The file.
        remedy: How it is come by, told where it is absent.

    Raises:
        ValueError: If it is absent or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no {path}{remedy and f': {remedy}'}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}). Was it downloaded whole?") from error


def write_json(path: Path, content: list | dict) -> None:
    """Write JSON whole or not at all; as ASCII, for LAVIS reads it in the locale's encoding."""
    with open_whole(path) as file:
        file.write(json.dumps(content).encode())
