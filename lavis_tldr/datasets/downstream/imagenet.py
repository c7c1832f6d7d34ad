"""ImageNet-1k, -A and -R for zero-shot classification: images in a folder a class, named by wnid."""

from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile

IMAGENET = DownstreamSet(
    name="imagenet",
    title="ImageNet-1k (ILSVRC 2012), validation",
    terms="non-commercial research and education, on registration",
    files=(
        NeededFile(
            "val/n*/*.JPEG",
            "50,000 images in 1,000 folders; the official tar is flat: sort it by the devkit's ground truth",
            "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
        ),
    ),
)

IMAGENET_A = DownstreamSet(
    name="imagenet-a",
    title="ImageNet-A (natural adversarial examples)",
    terms="code MIT; images under the terms of their owners",
    files=(NeededFile("n*/*.jpg", "7,500 images in 200 folders", "https://github.com/hendrycks/natural-adv-examples"),),
)

IMAGENET_R = DownstreamSet(
    name="imagenet-r",
    title="ImageNet-R (renditions)",
    terms="code MIT; images under the terms of their owners",
    files=(NeededFile("n*/*.jpg", "30,000 images in 200 folders", "https://github.com/hendrycks/imagenet-r"),),
)
