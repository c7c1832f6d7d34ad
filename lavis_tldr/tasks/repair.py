"""``tldr_repair``: lets understudies step in for kept samples whose images have gone missing since."""

from dataclasses import dataclass
from pathlib import Path

from lavis.common.registry import registry

from lavis_tldr.datasets.source_parts import SourceParts
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.stages.lost_images import AGAIN, AS_MADE, check_captions_made, repair_set
from lavis_tldr.stages.reduce_config import ReduceConfig
from lavis_tldr.stages.running import alone
from lavis_tldr.tasks.reduce import ReduceTask

RUN_KEYS = ("repair_decode", "repair_dry_run")


@dataclass
class _RecordedSource:
    """The source's parts as encode found them; it is not read again, and may have lost files since."""

    parts: list[Part]


@registry.register_task("tldr_repair")
class RepairTask(ReduceTask):
    """Makes a reduced set whole again: repairs what ``tldr_reduce`` built, from the same config.

    ``repair_decode`` decodes every kept image; else files and tar headers are looked at. ``repair_dry_run`` changes
    nothing.
    """

    stages = AGAIN

    def build_datasets(self, cfg) -> dict:
        encoded = Stage.as_made(cfg.run_cfg.output_dir, "encode")
        names = sorted(Path(name).stem for name in encoded.manifest["outputs"])
        parts = [Part(index, name, "") for index, name in enumerate(names)]
        return {"tldr_source": {"train": SourceParts(_RecordedSource(parts), None, {})}}

    def run(self, model, datasets: dict, run_cfg) -> dict:
        """Replace what is lost.

        Returns:
            How many kept samples were ``checked``, had lost their exported image alone (``copied_again``), were
            ``lost``, ``replaced`` and left ``without_stand_in``, and how many ``understudies_lost`` were passed over.

        Raises:
            ValueError: If the reduction is not finished, or captions would be made otherwise than they were.
        """
        context = self.context(model, datasets, run_cfg, ReduceConfig.from_run(run_cfg))
        context.as_made = AS_MADE
        check_captions_made(context)
        with alone(context.set_root):
            return repair_set(
                context, decode=bool(run_cfg.get("repair_decode")), dry_run=bool(run_cfg.get("repair_dry_run"))
            )
