"""``run.global_batch_size``: pairs an update over all processes, shared out."""

from lavis.common.dist_utils import get_world_size


def share_global_batch(run_cfg) -> None:
    """Set ``batch_size_train`` by ``global_batch_size``, where that is given; ``batch_size_eval`` follows if left out.

    Raises:
        ValueError: If the processes can't share it; names the nearest that they can.
    """
    wanted, accumulated = int(run_cfg.get("global_batch_size", 0)), int(run_cfg.get("accum_grad_iters", 1))
    if wanted:
        parts = get_world_size() * accumulated
        each, left = divmod(wanted, parts)
        if left or not each:
            near = sorted({max(each, 1) * parts, (each + 1) * parts})
            raise ValueError(
                f"run.global_batch_size {wanted} can't be shared by {get_world_size()} process(es) x {accumulated} "
                f"(run.accum_grad_iters): set it to {' or '.join(map(str, near))}. The queue_size of blip_pretrain "
                "must be a multiple of the pairs of one micro-batch over all processes."
            )
        run_cfg.batch_size_train = each
    if "batch_size_train" in run_cfg:
        run_cfg.setdefault("batch_size_eval", run_cfg.batch_size_train)
