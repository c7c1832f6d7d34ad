"""Small sets for the evaluation tasks: noise for images, and texts that tiny vocabularies know."""

import torch
from torch.utils.data import DataLoader, Dataset

from lavis_tldr.datasets.imagenet_classes import ImagenetClasses

NUM_IMAGES = 9
TEXTS = [f"{a} {b}" for a in ("a kite", "two dogs", "an old house", "the sea") for b in ("up", "in rain", "at night")]
# Uneven: the first image has four texts, the last ones one.
IMAGE_OF = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]


class Album(Dataset):
    """As LAVIS's RetrievalEvalDataset."""

    def __init__(self):
        self.image = list(range(NUM_IMAGES))
        self.pixels = torch.randn(NUM_IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(5))
        self.text, self.txt2img = TEXTS, dict(enumerate(IMAGE_OF))
        self.img2txt = {image: [t for t, own in enumerate(IMAGE_OF) if own == image] for image in self.image}

    def __len__(self):
        return NUM_IMAGES

    def __getitem__(self, index):
        return {"image": self.pixels[index], "index": index}


def album_loader():
    return DataLoader(Album(), batch_size=4)


# Numbers are not columns; the names are words that the tiny vocabulary has.
CLASSES = ImagenetClasses((6, 11, 13, 17), ("red kite", "boat", "house", "tall tree"), ("a", "b", "c", "d"))


class Zoo(Dataset):
    def __init__(self, size: int = 10):
        self.classes = CLASSES
        self.pixels = torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(2))
        self.labels = [CLASSES.numbers[i % 4] for i in range(size)]
        self.images = [f"{i}.jpg" for i in range(size)]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"image": self.pixels[index], "label": self.labels[index], "index": index}
