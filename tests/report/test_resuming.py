"""The command that takes up a reduction does not repeat what was asked for once."""

import pytest

from lavis_tldr.report.resuming import resume_command


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("run: {name: a, stages: [], restart: []}", ""),
        ("run: {name: a}", ""),
        ("run:", ""),
        ("", ""),
        ("# Relative paths count from /\nrun: {restart: encode}", " --options 'run.restart=[]'"),
        ("run: {stages: [encode], restart: [a, b]}", " --options 'run.stages=[]' 'run.restart=[]'"),
        ("[1, 2]", ""),
        ("{", ""),
    ],
)
def test_stages_and_restart_are_undone(tmp_path, config, options):
    path = tmp_path / "config.yaml"
    path.write_text(config)
    assert resume_command(path) == f"lavis-tldr reduce --cfg-path {path}{options}"


def test_a_path_with_spaces_can_be_pasted(tmp_path):
    path = tmp_path / "my config.yaml"
    path.write_text("run: {}")
    assert resume_command(path) == f"lavis-tldr reduce --cfg-path '{path}'"


def test_no_config(tmp_path):
    assert resume_command(tmp_path / "none.yaml") == "lavis-tldr reduce --cfg-path CONFIG (the one of before)"
