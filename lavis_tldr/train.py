"""LAVIS's ``train.py`` for those who installed LAVIS with pip, which leaves that script out.

    python -m torch.distributed.run --nproc_per_node=N -m lavis_tldr.train --cfg-path X [--options k=v ...]

One process needs no torch.distributed.run. It also runs without CUDA, and reports typos that LAVIS lets pass.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import random
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

from lavis_tldr import log
from lavis_tldr.config_keys import check_run_keys, known_run_keys
from lavis_tldr.environment.cache_root import set_cache_root
from lavis_tldr.environment.nvidia import driver_version, wheel_remedy
from lavis_tldr.environment.openmp import wait_asleep
from lavis_tldr.environment.processor import emulates_bfloat16
from lavis_tldr.registration import register, require_lavis
from lavis_tldr.user_errors import closest, run_command

logger = logging.getLogger(__name__)

CUDA_RUNNERS = ("runner_base", "runner_iter")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, as LAVIS's train.py does, and run."""
    parser = argparse.ArgumentParser(prog="python -m lavis_tldr.train", description="Run a LAVIS config.")
    parser.add_argument("--cfg-path", required=True, help="the run's YAML file")
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="override its settings")
    parser.add_argument("--debug", action="store_true", help="show a traceback for every error")
    # Older launchers (torch.distributed.launch) pass this; the rank is read from the environment.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    log.add_options(parser)
    args = parser.parse_args(argv)
    wait_asleep()

    def command() -> None:
        with log.to_stderr(getattr(args, "verbosity", None)):
            run(args.cfg_path, args.options)

    return run_command(command, debug=args.debug)


def run(cfg_path: str | Path, options: Sequence[str] = ()):
    """Run one config to its end, as LAVIS's train.py would.

    Args:
        cfg_path: The run's YAML file.
        options: "key=value" settings that override it. Unlike in LAVIS, ``model.model_type`` and a dataset's
            ``type`` given here also choose the packaged defaults that go with them.

    Returns:
        The runner, after its ``train()``; ``runner.output_dir`` is the run's folder.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the config names something unknown, or a device that is not there.
    """
    return run_config(load_user_config(cfg_path, options), name=str(cfg_path))


def build_parts(task, cfg) -> tuple:
    """Datasets and model of a run, as LAVIS's train.py builds them."""
    return task.build_datasets(cfg), task.build_model(cfg)


def run_config(user_config, build: Callable[..., tuple] = build_parts, name: str = "config"):
    """Run a config that is loaded already.

    Args:
        user_config: As `load_user_config` gives it; device and runner are settled in it.
        build: Makes datasets and model from task and LAVIS config. Who runs many configs of one model can hand out what
            was built before.
        name: What the log calls it.

    Returns:
        As `run`.

    Raises:
        ValueError: As `run`.
    """
    with log.unless_set_up():
        register()
        check_names(user_config)
        choose_device(user_config.run)
        return _run(user_config, build, name)


def _run(user_config, build: Callable[..., tuple], name: str):
    from lavis.common.config import Config
    from lavis.common.registry import registry
    from lavis.tasks import setup_task
    from omegaconf import OmegaConf

    from lavis_tldr.models.collectives import from_rank_zero
    from lavis_tldr.runners import preflight
    from lavis_tldr.runners.batch_sizes import share_global_batch
    from lavis_tldr.runners.contexts import matmul_precision_of, prints_logged
    from lavis_tldr.runners.process_group import process_group

    # The options are merged already, and handed over as a file, so that LAVIS picks the defaults by them.
    merged = io.StringIO(OmegaConf.to_yaml(user_config))
    cfg = Config(SimpleNamespace(cfg_path=merged, options=[]))
    run_cfg = cfg.run_cfg
    run_cfg.output_dir = str(Path(run_cfg.get("output_dir", "output")).expanduser().absolute())
    set_cache_root(run_cfg.get("cache_root"))

    with process_group(run_cfg), prints_logged():
        set_seeds(int(run_cfg.get("seed", 42)) + int(run_cfg.rank))
        job_id = from_rank_zero(lambda: choose_job_id(run_cfg))
        folder = Path(run_cfg.output_dir) / ("" if run_cfg.runner == "runner_stages" else job_id)
        where = f"{run_cfg.device}, {run_cfg.world_size} process{'es' if run_cfg.world_size > 1 else ''}"
        logger.info("%s: output in %s, on %s", name, folder, where)
        cfg.pretty_print()  # LAVIS logs it to the root logger, which tells it where news of others are wanted
        # Loader processes are forked after captions were tokenized: the library warns of it, and they tokenize nothing.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        task = setup_task(cfg)
        _warn_of_emulated_bf16(run_cfg)
        share_global_batch(run_cfg)
        preflight.check_files(cfg)
        with preflight.hub_errors_explained(cfg.model_cfg.arch):
            datasets, model = build(task, cfg)
        preflight.check_parts(cfg, model, datasets)
        for path in ("result_dir", "output_dir"):
            registry.mapping["paths"].pop(path, None)  # LAVIS refuses a process's second runner otherwise
        runner_class = registry.get_runner_class(run_cfg.runner)
        runner = runner_class(cfg=cfg, job_id=job_id, task=task, model=model, datasets=datasets)
        with matmul_precision_of(run_cfg):  # LAVIS's own runners know nothing of it
            runner.train()
    return runner


def _warn_of_emulated_bf16(run_cfg) -> None:
    asked = [name for name in ("bf16", "bf16_eval") if run_cfg.get(name)]
    if asked and str(run_cfg.device) == "cpu" and emulates_bfloat16():
        logger.warning(
            "this processor has no bfloat16 and emulates it, many times slower than float32: set %s. A few near ties "
            "between codes fall otherwise then.",
            " and ".join(f"run.{name}: False" for name in asked),
        )


def load_user_config(cfg_path: str | Path, options: Sequence[str] = ()):
    """The YAML file with the options merged in, before any packaged default."""
    config = load_yaml(cfg_path, options)
    missing = [section for section in ("run", "model", "datasets") if section not in config]
    if missing:
        raise ValueError(f"{cfg_path} lacks the section {missing[0]!r}; a LAVIS config has run, model and datasets")
    return config


def load_yaml(path: str | Path, options: Sequence[str] = ()):
    """A YAML file's mapping.

    Args:
        path: The file.
        options: "key=value" settings that are merged in.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If LAVIS is not installed, without which no config can be run.
        ValueError: If it is no YAML, or holds no mapping, or an option is no KEY=VALUE.
    """
    require_lavis()
    from omegaconf import DictConfig, OmegaConf
    from yaml import YAMLError

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no config file {str(path)!r} (looked in {Path.cwd()})")
    try:
        config = OmegaConf.load(path)
    except YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(config, DictConfig):
        raise ValueError(f"{path} holds no mapping; a config has the sections run, model and datasets")
    bad = [option for option in options if "=" not in option]
    if bad:
        raise ValueError(f"--options takes KEY=VALUE, found {bad[0]!r}; for instance --options run.max_epoch=2")
    return OmegaConf.merge(config, OmegaConf.from_dotlist(list(options)))


def check_names(config) -> None:
    """Check every name that LAVIS will look up, and every key under ``run``.

    Raises:
        ValueError: With all that is wrong, and the nearest known names.
    """
    from lavis.common.registry import registry

    from lavis_tldr.tasks.run_defaults import start_defaults

    run = config.run
    wrong = []

    def look_up(where: str, name, found: type | None, known: list[str]) -> None:
        if found is None:
            what = f"{where} is missing" if name is None else f"{where} {name!r} is unknown"
            wrong.append(what + closest("" if name is None else str(name), known))

    task = registry.get_task_class(run.get("task"))
    look_up("run.task", run.get("task"), task, registry.list_tasks())
    runner_name = run.get("runner", start_defaults(run).get("runner", "runner_base"))
    runner = registry.get_runner_class(runner_name)
    look_up("run.runner", runner_name, runner, registry.list_runners())
    arch = config.model.get("arch")
    model = registry.get_model_class(arch)
    look_up("model.arch", arch, model, registry.list_models())
    if model is not None and config.model.get("model_type") not in model.PRETRAINED_MODEL_CONFIG_DICT:
        types = list(model.PRETRAINED_MODEL_CONFIG_DICT)
        look_up(f"model.model_type (of {arch})", config.model.get("model_type"), None, types)
    for name in config.datasets:
        look_up("dataset", name, registry.get_builder_class(name), registry.list_datasets())
    try:
        known = known_run_keys(task, runner)
        check_run_keys(run, known | {"matmul_precision"} if runner_name in CUDA_RUNNERS else known)
    except ValueError as error:
        wrong.append(str(error))
    if wrong:
        raise ValueError("the config cannot be run: " + "; ".join(wrong))


def choose_device(run) -> None:
    """Settle ``run.device`` ("auto": CUDA if there is any) and, without CUDA, a runner that can do without.

    Where the config names none, the task's packaged defaults count, if it has any.

    Raises:
        ValueError: If CUDA is asked for and not there, or a stock runner for a CPU.
    """
    import torch

    from lavis_tldr.tasks.run_defaults import start_defaults

    defaults = start_defaults(run)
    asked = str(run.get("device", defaults.get("device", "cuda")))
    run.device = asked if asked != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if asked == "auto" and run.device == "cpu" and torch.version.cuda and (driver := driver_version()):
        logger.warning(
            "there is a GPU with driver %s, but torch, built for CUDA %s, sees no device: this runs on the CPU. %s.",
            driver,
            torch.version.cuda,
            f"What to do: {wheel_remedy(driver)}, or set run.device: cpu",
        )
    if run.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"run.device is {run.device!r}, but torch sees no CUDA device. Set run.device to auto (CUDA "
            "where there is any) or to cpu; `lavis-tldr doctor` says what torch sees."
        )
    on_cpu = run.device == "cpu"
    stated = run.get("runner", defaults.get("runner"))
    if on_cpu and stated in CUDA_RUNNERS:
        if asked != "auto":
            raise ValueError(f"run.runner {stated!r} needs CUDA. On a CPU use run.runner: runner_cpu.")
        logger.warning("No CUDA device: run.runner %s is replaced by runner_cpu.", stated)
        stated = None
    run.runner = stated or ("runner_cpu" if on_cpu else "runner_base")


def set_seeds(seed: int) -> None:
    """Seed every generator that LAVIS's code draws from."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def choose_job_id(run_cfg) -> str:
    """``run.job_id`` if set, else the time to the second and four random digits.

    LAVIS's own job id changes every ten minutes, so that jobs started together write into one folder.
    """
    return str(run_cfg.get("job_id") or f"{time.strftime('%Y%m%d%H%M%S')}-{secrets.token_hex(2)}")


if __name__ == "__main__":
    raise SystemExit(main())
