"""Videos whose frames tell their number by their brightness, and a model that scores it.

Used by test_evaluation.py and test_predictor.py.
"""

import av
import keras
import numpy as np

from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid

# Colours stay as they are: 0 to 1.
PLAIN = ClipSampling(stride=1, mean=0.0, std=1.0)
GRID = Grid(batch_size=3, num_frames=2, crop_size=8)


def write_video(path, *, frames, height=16, width=16, picture=None):
    """Frame n is grey 10 n, or `picture` of it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1", "g": "4"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv444p"
        for number in range(frames):
            image = np.full((height, width, 3), 10 * number, np.uint8)
            if picture is not None:
                image[...] = picture
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def write_videos(folder):
    """Videos of 6, 10 and 21 frames, and one that is no video."""
    records = [
        VideoRecord(path=write_video(folder / f"{n}.mp4", frames=n), label=i)
        for i, n in enumerate((6, 10, 21))
    ]
    (folder / "bad.mp4").write_text("This is no video.")
    records.insert(1, VideoRecord(path=str(folder / "bad.mp4"), label=0))
    return records


def brightness_model(*, classes=3, classifier_activation="softmax"):
    """Scores (b, 1 - b, b²) of the mean brightness b of a clip."""
    inputs = keras.Input((None, None, None, 3))
    b = keras.layers.GlobalAveragePooling3D()(inputs)[:, :1]
    return keras.Model(inputs, keras.layers.Concatenate()([b, 1 - b, b * b]))
