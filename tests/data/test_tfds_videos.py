"""Data sets of TensorFlow Datasets, built here, give the clips of the same frames in files."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_multigrid import Grid, MultigridSchedule
from keras_multigrid.data import Input, VideoRecord, VideoSet, check, from_tfds, training_batches
from keras_multigrid.data.check.set_report import SetReport
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.videos import DecodeError, opened

LABELS = [0, 1, 1, 0, 1, 0]
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=4, crop_size=16), num_clips=6, epochs=3, boundaries=(2,)
)


def frames_of(number):
    """Noise: uint8 (5 + number, 20, 28, 3)."""
    random = np.random.default_rng(number)
    return random.integers(0, 256, (5 + number, 20, 28, 3), np.uint8)


class TinyVideos(tfds.core.GeneratorBasedBuilder):
    """Six videos to train on and one to test on, which has no label."""

    VERSION = tfds.core.Version("1.0.0")
    several_labels = False

    def _info(self):
        label = tfds.features.ClassLabel(names=["run", "walk"])
        features = {
            "video": tfds.features.Video(shape=(None, 20, 28, 3), encoding_format="png"),
            "label": tfds.features.Sequence(label) if self.several_labels else label,
            "number": np.int64,
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(LABELS), "test": self._generate_examples([-1])}

    def _generate_examples(self, labels):
        # By number: the library shuffles by the hash of the key.
        for number, label in enumerate(labels):
            if self.several_labels:
                label = [label] * (number % 3 > 0) + [0] * (number % 3 > 1)
            yield number, {"video": frames_of(number), "label": label, "number": number}


class SeveralLabels(TinyVideos):
    several_labels = True

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(LABELS)}


def prepared(kind, folder, file_format="array_record"):
    builder = kind(data_dir=str(folder), file_format=file_format)
    builder.download_and_prepare()
    return builder


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return prepared(TinyVideos, tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="module")
def in_files(builder, tmp_path_factory):
    """The same videos as folders of pictures, in the same order."""
    folder, records = tmp_path_factory.mktemp("files"), []
    for example in builder.as_data_source("train"):
        number = int(example["number"])
        (folder / str(number)).mkdir()
        for index, frame in enumerate(frames_of(number)):
            Image.fromarray(frame).save(folder / str(number) / f"{index}.png")
        records.append(VideoRecord(path=str(folder / str(number)), label=LABELS[number]))
    return records


def test_clips_are_those_of_the_same_frames_in_files(builder, in_files):
    videos = from_tfds(builder, split="train")
    assert (len(videos), videos.class_names, videos.multi_label) == (6, ("run", "walk"), False)
    assert [video.label for video in videos] == [record.label for record in in_files]
    assert videos[2].path == "tfds:tiny_videos/1.0.0/train/2"
    ours = training_batches(videos, SCHEDULE, seed=1)
    theirs = training_batches(in_files, SCHEDULE, seed=1)
    batches = list(zip(ours.take(7), theirs.take(7), strict=True))
    assert len({clips.shape for (clips, _), _ in batches}) > 1
    for (clips, labels), (expected, expected_labels) in batches:
        np.testing.assert_array_equal(clips, expected)
        np.testing.assert_array_equal(labels, expected_labels)
    resumed = training_batches(videos, SCHEDULE, seed=1, start_step=5)
    np.testing.assert_array_equal(next(iter(resumed))[0], batches[5][0][0])


def test_a_set_for_an_input(builder, in_files, tmp_path):
    train = from_tfds(builder, split="train")
    videos = VideoSet(train=train, validation=from_tfds(builder, split="train[4:]"))
    assert videos.class_names == ("run", "walk")
    source = Input(videos=videos, sampling=ClipSampling(stride=1), balance="inverse")
    batches = list(source.validation(SCHEDULE.base))
    labels = np.concatenate([labels for _, labels in batches])
    assert labels.tolist() == [record.label for record in in_files[4:]]
    assert next(iter(source.training(SCHEDULE, seed=0)))[0].shape == SCHEDULE.grid(0).shape
    assert train.fingerprint == "6 videos of tfds:tiny_videos/1.0.0/train"
    # To count its labels would read all of it.
    assert SetReport.of(videos).histogram == ()
    with pytest.raises(ValueError, match="must be files or folders of images"):
        check.check_videos(videos, journal=str(tmp_path / "journal"))


def test_frames_are_decoded_when_they_are_asked_for(builder):
    number = int(builder.as_data_source("train")[3]["number"])
    with opened(from_tfds(builder, split="train")[3]) as video:
        assert video.num_frames == 5 + number
        (frame,) = video.read(np.array([4]))
    np.testing.assert_array_equal(frame, frames_of(number)[4])


def test_several_labels(tmp_path):
    builder = prepared(SeveralLabels, tmp_path)
    videos = from_tfds(builder, split="train")
    assert videos.multi_label
    expected = {0: (), 1: (1,), 2: (0, 1), 3: (), 4: (1,), 5: (0,)}
    numbers = [int(example["number"]) for example in builder.as_data_source("train")]
    assert [video.label for video in videos] == [expected[number] for number in numbers]
    assert VideoSet(train=videos, validation=videos).multi_label


def test_what_cannot_be_read(builder, tmp_path):
    unlabelled = from_tfds(builder, split="test")[0]
    with pytest.raises(DecodeError, match=r"'tfds:tiny_videos/1\.0\.0/test/0' has no label"):
        opened(unlabelled).__enter__()
    with pytest.raises(IndexError, match=r"There are 6 videos\. Received: 6"):
        _ = from_tfds(builder, split="train")[6]
    for settings, message in (
        (
            {"video": "number"},
            "`video` must name a feature that is a tfds.features.Video.",
        ),
        ({"label": "number"}, "`label` must name a feature that is a tfds.features.ClassLabel"),
        ({"label": "none"}, "sequence of them. Received: 'none', of {"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            from_tfds(builder, split="train", **settings)
    with pytest.raises(FileNotFoundError, match="tfds build tiny_videos"):
        from_tfds(TinyVideos(data_dir=str(tmp_path)), split="train")
    sequential = prepared(TinyVideos, tmp_path, "tfrecord")
    with pytest.raises(ValueError, match="files that can be read by number"):
        from_tfds(sequential, split="train")


def test_the_example_of_the_guide(builder):
    text = (pathlib.Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    (example,) = re.findall(r"```python\n([^`]*from_tfds[^`]*)```", text)
    ours = f'"tiny_videos", data_dir="{builder.data_dir.rsplit("/tiny_videos", 1)[0]}"'
    example = example.replace('"ucf101"', ours).replace('split="test"', 'split="train[:50%]"')
    names = {}
    exec(compile(example, "guide.md", "exec"), names)
    assert (len(names["videos"].train), len(names["videos"].validation)) == (6, 3)
    assert names["videos"].class_names == ("run", "walk")
