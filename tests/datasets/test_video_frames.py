"""Which frames of a video are taken, by the grey of encoded ones, and what of a file without frames is said."""

import numpy as np
import pytest
from clips_of_grey import write_clip, write_sound

from lavis_tldr.datasets.video_frames import RULES, frame_numbers, read_frames

# By hand of 100 frames: 12.5 (i + 1/2), 12 i, 12.5 i, whole frames.
OF_100 = {
    "segments": [6, 18, 31, 43, 56, 68, 81, 93],
    "blip": [0, 12, 24, 36, 48, 60, 72, 84],
    "lavis": [0, 12, 25, 37, 50, 62, 75, 87],
}
OF_20 = {
    "segments": [1, 3, 6, 8, 11, 13, 16, 18],  # 2.5 (i + 1/2)
    "blip": [0, 2, 4, 6, 8, 10, 12, 14],
    "lavis": [0, 2, 5, 7, 10, 12, 15, 17],
}
OF_5 = {"segments": [0, 0, 1, 2, 2, 3, 4, 4], "blip": [0] * 8, "lavis": [0, 0, 1, 1, 2, 3, 3, 4]}


@pytest.mark.parametrize("rule", RULES)
def test_numbers_by_hand(rule):
    for length, expected in ((100, OF_100), (20, OF_20), (5, OF_5), (8, {rule: list(range(8))})):
        assert frame_numbers(length, 8, rule).tolist() == expected[rule]
    assert frame_numbers(1, 8, rule).tolist() == [0] * 8


@pytest.mark.parametrize("length", [8, 9, 100, 333])
def test_two_rules_are_those_of_their_codes(length):
    assert frame_numbers(length, 8, "blip").tolist() == np.arange(0, length, length / 8, dtype=int)[:8].tolist()
    assert frame_numbers(length, 8, "lavis").tolist() == np.arange(0, length, length / 8).astype(int).tolist()


def test_no_rule_goes_over_the_end():
    for rule in RULES:
        for length in range(1, 60):
            for count in (1, 8, 12):
                numbers = frame_numbers(length, count, rule)
                assert len(numbers) == count
                assert numbers.min() >= 0 and numbers.max() < length and (np.diff(numbers) >= 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_frames_of_encoded_files(tmp_path, rule):
    for num_frames, expected in ((20, OF_20), (5, OF_5)):
        write_clip(tmp_path / "a.mp4", num_frames)  # levels 10, 20, ... less about 3 in the encoding
        frames = read_frames(tmp_path / "a.mp4", 8, rule)
        assert [frame.size for frame in frames] == [(64, 48)] * 8
        assert [round(np.mean(frame) / 10 - 0.7) for frame in frames] == expected[rule]


def test_what_has_no_frames_is_told(tmp_path):
    write_clip(tmp_path / "whole.mp4")
    write_sound(tmp_path / "sound.mp4")
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "broken.mp4").write_bytes(content[:300])
    start, end = content.find(b"mdat") + 8, content.find(b"moov") - 8
    (tmp_path / "hollow.mp4").write_bytes(content[:start] + bytes(end - start) + content[end:])
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name, message in (
        ("gone", "there is no such file"),
        ("sound", "it has no video, perhaps sound alone"),
        ("broken", "it can't be decoded"),
        ("hollow", "it can't be decoded"),
        ("empty", "it can't be decoded"),
    ):
        with pytest.raises(ValueError, match=message):
            read_frames(tmp_path / f"{name}.mp4", 8)


def test_settings_that_can_not_be_are_refused():
    with pytest.raises(ValueError, match="'segment' is unknown .did you mean 'segments'"):
        frame_numbers(20, 8, "segment")
    with pytest.raises(ValueError, match="at least 1"):
        frame_numbers(20, 0)
