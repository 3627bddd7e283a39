import fractions

import numpy as np
import phone_videos
import pytest
from small_videos import pictures, write_video

from keras_multigrid.data.check.survey import survey
from keras_multigrid.data.videos.video import VideoRecord


def records_of(folder):
    return [VideoRecord(path=str(path), label=0) for path in sorted(folder.rglob("*.*"))]


def test_phone_videos_are_seen_upright(tmp_path):
    phone_videos.write_phone_videos(tmp_path, videos=12, short_side=48)
    (tmp_path / "grow" / "cut.mp4").write_bytes(b"This is no video.")
    found = survey(records_of(tmp_path))
    assert len(found.looks) == 12
    assert [path.rpartition("/")[2] for path in found.unreadable] == ["cut.mp4"]
    assert found.short_side == 48
    # Turned by metadata or not, as they are shown.
    assert {(look.width, look.height) for look in found.looks} == {(86, 48), (64, 48), (48, 86)}
    rates = {fractions.Fraction(look.rate).limit_denominator(1001) for look in found.looks}
    assert rates == set(phone_videos.RATES)
    lines = "\n".join(found.lines())
    assert "Frames a second: 24, 29.97, 30, 60." in lines
    # Videos 10 and 11 of 12.
    assert "Sizes, as shown: 64 x 48 to 86 x 48, 2 of them portrait." in lines
    assert "Left out: " in lines and "cut.mp4" in lines


def test_a_video_of_one_frame_is_pointed_out(tmp_path):
    for number, frames in enumerate((1, 8)):
        images = np.zeros((frames, 48, 64, 3), np.uint8)
        write_video(tmp_path / f"{number}.mp4", "libx264", images)
    assert "Of one frame, in which nothing moves: 1." in survey(records_of(tmp_path)).lines()


def test_a_camera_that_stands_still(tmp_path):
    ground = np.random.default_rng(0).integers(0, 255, (48, 80, 3))
    for number in range(3):
        still = np.broadcast_to(ground, (12, 48, 80, 3)).astype(np.uint8)
        moving = np.stack([np.roll(still[0], 6 * k, axis=1) for k in range(12)])
        for k, image in enumerate(still):
            image[20:28, 4 * k : 4 * k + 8] = 255
        for name, images in (("still", still), ("moving", moving)):
            (tmp_path / name).mkdir(exist_ok=True)
            write_video(tmp_path / name / f"{number}.mp4", "libx264", images)
    assert survey(records_of(tmp_path / "still")).is_still
    assert not survey(records_of(tmp_path / "moving")).is_still


def test_numbers_of_a_set(tmp_path):
    for number, count in enumerate((4, 8, 40)):
        write_video(tmp_path / f"{number}.mp4", "libx264", pictures(number, count=count))
    found = survey(records_of(tmp_path))
    # Interpolated between 4 and 8 frames.
    assert found.frames == 4
    assert found.rate == 8
    assert found.decoded_bytes == 3 * 24 * 32 * (4 + 8 + 40)
    half = survey(records_of(tmp_path), most=2)
    assert [look.num_frames for look in half.looks] == [4, 8]
    assert "Looked at 2 of 3." in half.lines()
    # Of the two that were looked at, for all three.
    assert half.decoded_bytes == 3 * 3 * 24 * 32 * 6


def test_a_set_of_which_nothing_can_be_read(tmp_path):
    (tmp_path / "1.mp4").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"None of the 1 videos can be read. The first: .*1.mp4"):
        survey(records_of(tmp_path))
