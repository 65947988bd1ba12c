from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from skimage import data, transform

from runtime.video.frames import Frame
from runtime.video.reader import open_video
from runtime.video.shots import THRESHOLD, ShotDetector, detect_shots, flag_shots, mark_shots, parse_shots
from tests.support.shared_data import shared
from weights.errors import UsageError

PICTURES = (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())


def starts(images: Sequence[np.ndarray], threshold: float = THRESHOLD) -> list[int]:
    frames = (Frame(i, None, image, str(i)) for i, image in enumerate(images))
    return [frame.index for frame in detect_shots(frames, threshold) if frame.shot_start]


def pan(picture: np.ndarray, count: int, step: int) -> list[np.ndarray]:
    """A window of 240 x 200 pixels that moves to the right by `step` pixels per frame."""
    return [picture[20:220, step * i : step * i + 240] for i in range(count)]


def zoom(picture: np.ndarray, count: int) -> list[np.ndarray]:
    side = min(picture.shape[:2])
    crops = [picture[4 * i : side - 4 * i, 4 * i : side - 4 * i] for i in range(count)]
    return [transform.resize(crop, (200, 240), preserve_range=True).astype(np.uint8) for crop in crops]


def test_cuts_between_pans_are_found() -> None:
    images = [image for picture in PICTURES for image in pan(picture, 7, 20)]
    assert starts(images) == [0, 7, 14, 21]


@pytest.mark.parametrize("picture", PICTURES, ids=["astronaut", "coffee", "chelsea", "rocket"])
@pytest.mark.parametrize("step", [1, 10, 40, 55])
def test_a_pan_is_one_shot(picture: np.ndarray, step: int) -> None:
    assert starts(pan(picture, 1 + 200 // step, step)) == [0]


@pytest.mark.parametrize("picture", PICTURES, ids=["astronaut", "coffee", "chelsea", "rocket"])
def test_a_zoom_is_one_shot(picture: np.ndarray) -> None:
    assert starts(zoom(picture, 12)) == [0]


def test_a_flash_and_a_change_of_exposure_are_no_cuts() -> None:
    picture = PICTURES[0].astype(int)
    brighter = [np.clip(picture + light, 0, 255).astype(np.uint8) for light in (0, 0, 90, 0, -50, -50, 30)]
    assert starts(brighter) == [0]


def test_noise_is_no_cut() -> None:
    rng = np.random.default_rng(0)
    images = [np.clip(PICTURES[1] + rng.normal(0, 20, PICTURES[1].shape), 0, 255) for _ in range(5)]
    assert starts([image.astype(np.uint8) for image in images]) == [0]


def test_frames_of_one_colour() -> None:
    black, blue = np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), (0, 0, 255), np.uint8)
    picture = PICTURES[0][:40, :60]
    assert starts([black, black, blue, blue, picture, black]) == [0, 2, 4, 5]


def test_another_size_starts_a_shot() -> None:
    picture = PICTURES[0]
    assert starts([picture, picture, picture[:200], picture[:200]]) == [0, 2]


def test_a_real_drive_is_one_shot() -> None:
    folder = shared("video/camvid-val/frames")
    for stride in (1, 5):
        with open_video(folder, stride=stride) as reader:
            assert [f.index for f in detect_shots(reader) if f.shot_start] == [0]


def test_the_threshold_is_an_option() -> None:
    images = pan(PICTURES[0], 5, 10)
    assert starts(images, threshold=0.01) == [0, 1, 2, 3, 4]
    assert starts([*images, PICTURES[1][:200, :240]], threshold=1.0) == [0]
    for wrong in (0, -1, 1.5):
        with pytest.raises(UsageError, match="out of range"):
            ShotDetector(wrong)


def frames_at(*indices: int) -> list[Frame]:
    return [Frame(i, None, np.zeros((1, 1, 3), np.uint8), str(i)) for i in indices]


@pytest.mark.parametrize(
    ("indices", "given", "expected"),
    [
        (range(10), (0, 4, 7), [0, 4, 7]),
        (range(10), (), [0]),
        (range(3, 10), (0, 5), [3, 5]),
        (range(0, 20, 3), (0, 4, 5, 7), [0, 6, 9]),
        ((0, 1, 2, 9), (2, 4, 6), [0, 2, 9]),
    ],
)
def test_given_starts_hold_for_the_next_frame_there_is(
    indices: Sequence[int], given: tuple[int, ...], expected: list[int]
) -> None:
    assert [f.index for f in flag_shots(frames_at(*indices), given) if f.shot_start] == expected


def test_mark_shots_takes_what_the_user_wrote() -> None:
    images = [PICTURES[0], PICTURES[0], PICTURES[1], PICTURES[1]]
    frames = [Frame(i, None, image, str(i)) for i, image in enumerate(images)]
    found = {
        text: [f.index for f in mark_shots(frames, text) if f.shot_start] for text in ("auto", "0,1", None)
    }
    assert found == {"auto": [0, 2], "0,1": [0, 1], None: []}
    with pytest.raises(UsageError, match="expected auto, or frame numbers"):
        mark_shots(frames, "automatic")


def test_parse_shots() -> None:
    assert parse_shots("0,120,340") == (0, 120, 340)
    assert parse_shots(" 5 , 6") == (5, 6)
    for wrong in ("", "a", "1,,2", "1,-2", "1.5", "1,2,", "0" * 5000):
        with pytest.raises(UsageError, match="not a list of shot starts"):
            parse_shots(wrong)
    for wrong in ("5,5", "7,3"):
        with pytest.raises(UsageError, match="out of order"):
            parse_shots(wrong)
