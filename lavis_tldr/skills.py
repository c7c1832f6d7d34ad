"""What a model must be able to do to take a downstream evaluation; which families never can, and why."""

MATCH, ANSWER, COMPARE, DESCRIBE = "match", "answer", "compare", "describe"
FAMILIES = ("CLIP", "ViLT", "BLIP")

# What no model of a family can do, however it is trained.
IMPOSSIBLE = {
    ("CLIP", ANSWER): "CLIP reads image and question apart: it has no layers that fuse them, and nothing that answers",
    ("CLIP", COMPARE): "CLIP embeds each image alone: it has no layers that read two images and a sentence together",
    ("CLIP", DESCRIBE): "CLIP has no text decoder",
    ("ViLT", DESCRIBE): "ViLT fills in masked words and has no autoregressive decoder",
}

# What a pretraining can do once it is fine-tuned as another model.
AFTER_FINE_TUNING = {
    ("ViLT", ANSWER): "vilt_vqa",
    ("ViLT", COMPARE): "vilt_nlvr",
    ("BLIP", ANSWER): "blip_vqa",
    ("BLIP", COMPARE): "blip_nlvr",
}


def family_of(arch: str) -> str | None:
    """The one of `FAMILIES` that a model's name begins with."""
    return next((family for family in FAMILIES if arch.split("_")[0] == family.lower()), None)
