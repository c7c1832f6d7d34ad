"""Encoded videos whose frames are grey: frame i has the level ``first + step * i``."""

import wave
from pathlib import Path

import cv2
import numpy as np


def write_clip(path: Path, num_frames: int = 20, first: int = 10, step: int = 10) -> None:
    """64 x 48 pixels, mp4v."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for number in range(num_frames):
        writer.write(np.full((48, 64, 3), first + step * number, np.uint8))
    writer.release()


def write_sound(path: Path) -> None:
    """A second of silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
