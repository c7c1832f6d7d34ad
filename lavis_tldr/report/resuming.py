"""The command that takes up an unfinished reduction."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

_ONCE = ("stages", "restart")  # settings of one call, which the next one must not repeat


def resume_command(config: Path) -> str:
    """What to run.

    Args:
        config: The config that the reduction has left in its folder; it may be missing.
    """
    if not config.is_file():
        return "lavis-tldr reduce --cfg-path CONFIG (the one of before)"
    command = f"lavis-tldr reduce --cfg-path {shlex.quote(str(config))}"
    try:
        run = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("run") or {}
    except (yaml.YAMLError, AttributeError):
        return command  # reading it will say what is wrong
    undone = [shlex.quote(f"run.{name}=[]") for name in _ONCE if run.get(name)]
    return f"{command} --options {' '.join(undone)}" if undone else command
