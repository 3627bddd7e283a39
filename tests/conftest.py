"""Small encoded videos in which every pixel tells the video and the frame that it comes from."""

import gc

import av
import numpy as np
import pytest

# Begun first: a process that begins one of them last would work on while the other is idle.
LONGEST = (
    "test_distribute.py",
    "test_remote.py",
    "test_remote_records.py",
    "test_experiments.py",
    "test_serving.py",
    "test_resume.py",
    "test_quickstart.py",
    "test_finetune.py",
    "test_training.py",
    "test_checkpoint.py",
    "test_readme.py",
    "test_prepare.py",
)
NUM_VIDEOS = 24
# (height, width, frames): many sizes, and lengths below and above a clip's span.
SIZES = [(20 + 2 * (n % 5), 20 + 2 * (n % 7), 4 + n) for n in range(NUM_VIDEOS)]


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


def pytest_collection_finish():
    # What was imported stays: without this, it is looked through for garbage again and again.
    gc.collect()
    gc.freeze()


def picture(number, frame):
    """Red tells the video, in steps of 10, green the frame, in steps of 8; blue runs rightwards."""
    height, width, _ = SIZES[number]
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 10 * number + 10
    image[..., 1] = 8 * frame + 10
    image[..., 2] = np.linspace(40, 200, width)
    return image


def write_video(path, number):
    height, width, num_frames = SIZES[number]
    # 4:4:4 keeps the colours apart.
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "5", "g": "6"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv444p"
        for frame in range(num_frames):
            image = av.VideoFrame.from_ndarray(picture(number, frame), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """24 videos; the label is the video's number."""
    # Networks are tested without TensorFlow, too.
    from keras_multigrid.data.videos.video import VideoRecord

    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        write_video(folder / f"{number}.mp4", number)
    return [VideoRecord(path=str(folder / f"{n}.mp4"), label=n) for n in range(NUM_VIDEOS)]
