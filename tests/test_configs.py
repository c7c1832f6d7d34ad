"""Every YAML of the repository: it parses, and each name in it is one that exists."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from lavis.common.config import Config
from lavis.common.registry import registry
from omegaconf import OmegaConf

import lavis_tldr
from lavis_tldr.api import explain
from lavis_tldr.report.explanation_text import explanation_lines
from lavis_tldr.tasks.reduce import ReduceTask
from lavis_tldr.tasks.run_defaults import PRETRAINING
from lavis_tldr.train import check_names, load_user_config

lavis_tldr.register()

ROOT = Path(__file__).parent.parent
PACKAGED = Path(lavis_tldr.__file__).parent / "configs"
LAVIS_SECTIONS = {"model", "datasets", "run"}

YAMLS = sorted([*(ROOT / "projects").rglob("*.y*ml"), *PACKAGED.rglob("*.y*ml")])
RUN_CONFIGS = [path for path in YAMLS if path.is_relative_to(ROOT / "projects")]
RUN_CONFIGS = [path for path in RUN_CONFIGS if set(OmegaConf.load(path)) >= LAVIS_SECTIONS]
SCRIPTS = sorted((ROOT / "run_scripts").glob("*.sh"))


def is_reduction(path: Path) -> bool:
    return issubclass(registry.get_task_class(OmegaConf.load(path).run.task), ReduceTask)


def short(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name)


def processor_names(dataset_config) -> list[str]:
    return [
        processor.name
        for kind in ("vis_processor", "text_processor")
        for processor in (dataset_config.get(kind) or {}).values()
        if processor is not None
    ]


def test_there_are_configs():
    assert {path.name for path in RUN_CONFIGS} >= {"blip_pretrain_tldr.yaml", "blip_pretrain_tldr_cpu.yaml"}
    assert (PACKAGED / "datasets/tldr_reduced.yaml") in YAMLS


@pytest.mark.parametrize("path", YAMLS, ids=short)
def test_parses_and_resolves(path):
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert isinstance(content, dict) and content


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=short)
def test_run_config_builds(path):
    user_config = load_user_config(path)
    check_names(user_config)
    config = Config(SimpleNamespace(cfg_path=str(path), options=[]))
    run = config.run_cfg
    for name in config.datasets_cfg:
        dataset_config = config.datasets_cfg[name]
        for processor in processor_names(dataset_config):
            assert registry.get_processor_class(processor) is not None, processor
    if not run.get("evaluate", False) and "lr_sched" in run:
        assert registry.get_lr_scheduler_class(run.lr_sched) is not None, run.lr_sched
    # A relative folder: absolute ones are some machine's.
    assert not Path(str(run.output_dir)).is_absolute()


@pytest.mark.parametrize("path", [path for path in RUN_CONFIGS if is_reduction(path)], ids=short)
def test_a_reduction_is_explained_and_sets_nothing_in_vain(path):
    facts = explain(path)
    assert len(explanation_lines(facts)) > 20 and ("select" not in facts["used"] or facts["idle"] == [])


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=short)
def test_queue_holds_whole_batches(path):
    config = load_user_config(path)
    if "queue_size" in config.model:
        default = OmegaConf.load(PRETRAINING).run.global_batch_size
        batch = config.run.get("batch_size_train", config.run.get("global_batch_size", default))
        assert config.model.queue_size % batch == 0


@pytest.mark.parametrize("path", [path for path in YAMLS if path.parent == PACKAGED / "datasets"], ids=short)
def test_packaged_dataset_defaults_belong_to_a_builder(path):
    (name,) = OmegaConf.load(path).datasets
    builder = registry.get_builder_class(name)
    assert str(path) in [str(Path(known)) for known in builder.DATASET_CONFIG_DICT.values()]


@pytest.mark.parametrize("path", [path for path in YAMLS if path.parent == PACKAGED / "models"], ids=short)
def test_packaged_model_defaults_belong_to_a_model(path):
    model = registry.get_model_class(OmegaConf.load(path).model.arch)
    assert str(path) in [str(Path(known)) for known in model.PRETRAINED_MODEL_CONFIG_DICT.values()]


def test_every_default_of_the_package_exists():
    ours = [
        cls
        for kind in ("builder_name_mapping", "model_name_mapping")
        for cls in registry.mapping[kind].values()
        if cls.__module__.startswith("lavis_tldr.")
    ]
    assert "tldr_reduced" in registry.mapping["builder_name_mapping"]
    for cls in ours:
        defaults = getattr(cls, "DATASET_CONFIG_DICT", None) or getattr(cls, "PRETRAINED_MODEL_CONFIG_DICT", {})
        assert [path for path in defaults.values() if not Path(path).is_file()] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=short)
def test_script_is_bash_and_names_configs_that_exist(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    configs = re.findall(r"--cfg-path[ =]\"?([^\s\"$]+\.yaml)", path.read_text())
    assert [config for config in configs if not (ROOT / config).is_file()] == []


@pytest.mark.parametrize("path", YAMLS + SCRIPTS, ids=short)
def test_names_no_machine(path):
    text = path.read_text()
    assert re.findall(r"(?:^|[\s:=\"'])/(?:work|home|root|mnt|Users|tmp)/\S*", text) == []
