"""Folders of ImageNet's classes, and which class each is."""

import logging

import numpy as np
import pytest
from lavis.common.registry import registry
from lavis.datasets.datasets.imagefolder_dataset import ImageFolderDataset
from omegaconf import OmegaConf

from lavis_tldr.datasets.imagenet_classes import all_wnids, classes_of

# Numbers 6, 11 and 13 of the 1,000: a stingray, a goldfinch and a junco. Not the first three.
FOLDERS = {"n01498041": 6, "n01531178": 11, "n01534433": 13}


@pytest.fixture
def root(tmp_path, encoded):
    """Two images a folder, a README and a file that is no image; as ImageNet-A is packed."""
    for wnid, number in FOLDERS.items():
        folder = tmp_path / "set" / wnid
        folder.mkdir(parents=True)
        for name in ("b.JPEG", "a.jpg"):
            (folder / name).write_bytes(encoded((number, 0, 0), size=(40, 32)))
    (tmp_path / "set" / "README.txt").write_text("about it")
    return tmp_path / "set"


def build(root, **keys):
    builder = registry.get_builder_class("tldr_zero_shot")
    default = OmegaConf.load(builder.default_config_path()).datasets.tldr_zero_shot
    return builder(OmegaConf.merge(default, {"root": str(root), **keys})).build_datasets()["val"]


def test_labels_go_by_wnid(root):
    images = build(root)
    assert images.labels == [6, 6, 11, 11, 13, 13]
    assert images.images[:2] == ["n01498041/a.jpg", "n01498041/b.JPEG"]
    sample = images[3]
    assert (sample["label"], sample["index"]) == (11, 3)
    assert sample["image"].shape == (3, 224, 224)


def test_lavis_numbers_the_folders_that_it_finds(root):
    """Its labels 0, 1, 2 would be compared with columns of a tench, a goldfish and a shark."""
    stock = ImageFolderDataset(vis_processor=None, vis_root=str(root))
    assert [row["label"] for row in stock.annotation] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", ["imagenet", "imagenet_a"])
def test_a_folder_val_is_gone_into(root, name):
    (root / "val").mkdir()
    for wnid in FOLDERS:
        (root / wnid).rename(root / "val" / wnid)
    assert build(root, set=name).labels == [6, 6, 11, 11, 13, 13]


def test_absent_classes_and_other_files_are_told(root, caplog):
    (root / "n01498041" / "notes.txt").write_text("blurred")
    with caplog.at_level(logging.INFO):
        images = build(root, set="imagenet_a")
    assert len(images.classes.numbers) == 200
    assert "1 files in its folders are no images" in caplog.text
    assert "197 of the set's 200 classes have no image" in caplog.text


@pytest.mark.parametrize(("folder", "said"), [("n01440764", "a class of another set"), ("dogs", "dogs, no wnid")])
def test_strange_folders_are_refused(root, folder, said):
    """The tench, 0, is not in ImageNet-A."""
    (root / folder).mkdir()
    with pytest.raises(ValueError, match=f"1 folders that are none of the set's 200 classes .*{said}"):
        build(root, set="imagenet_a")


def test_no_folder_no_image_no_set(root, tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        build(tmp_path / "elsewhere")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    with pytest.raises(ValueError, match="no images in folders named by wnid"):
        build(tmp_path / "flat")
    with pytest.raises(ValueError, match="set is 'imagenet-a'; expected imagenet, imagenet_a or imagenet_r"):
        build(root, set="imagenet-a")
    with pytest.raises(ValueError, match="root is missing"):
        build("")
    with pytest.raises(ValueError, match="unknown key datasets.tldr_zero_shot.rot"):
        build(root, rot=1)


def test_an_unreadable_image_is_an_error(root):
    (root / "n01498041" / "a.jpg").write_bytes(b"\xff\xd8no")
    with pytest.raises(ValueError, match="a.jpg can't be read"):
        build(root)[0]


def test_classes_are_the_authors():
    """Facts about the lists: sums, sizes, shared classes, first and last wnid, known names."""
    a, r = classes_of("imagenet_a"), classes_of("imagenet_r")
    assert (sum(a.numbers), sum(r.numbers)) == (102178, 86135)
    for classes in (a, r):
        assert len(set(classes.numbers)) == 200 and list(classes.numbers) == sorted(classes.numbers)
    assert len(set(a.numbers) & set(r.numbers)) == 86
    wnids = all_wnids()
    assert len(set(wnids)) == 1000 and list(wnids) == sorted(wnids)
    assert (wnids[0], wnids[999]) == ("n01440764", "n15075141")
    every = classes_of("imagenet")
    assert every.names[0] == "tench" and every.names[999] == "toilet paper"
    assert [n for n, name in enumerate(every.names) if name == "missile"] == [657, 744]
    assert [n for n, name in enumerate(every.names) if name == "sunglasses"] == [836, 837]
    assert np.array_equal(every.numbers, np.arange(1000))
    assert [every.names[n] for n in FOLDERS.values()] == [a.names[i] for i in range(3)]
    assert [every.wnids[n] for n in FOLDERS.values()] == list(FOLDERS)
