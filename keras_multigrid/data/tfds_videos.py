"""Video data sets of TensorFlow Datasets."""

import os
from typing import Any

import tensorflow as tf

from keras_multigrid.data.indexed_videos import IndexedVideos
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.pictures import Pictures


def from_tfds(
    builder: Any,
    *,
    split: str,
    video: str = "video",
    label: str = "label",
    data_dir: str | None = None,
) -> IndexedVideos:
    """The videos of a data set of TensorFlow Datasets, to train on or to validate on.

    A video is read when its turn comes, and of its pictures (TensorFlow Datasets keeps a JPEG or a
    PNG for each frame) those of the clip alone are decoded. Nothing is downloaded here.

    Args:
        builder: a name, such as "ucf101" or "ucf101/ucf101_2:2.0.0", or a
            `tfds.core.DatasetBuilder`. Its files must be ArrayRecords, which can be read by number:
            `tfds build ucf101 --file_format=array_record`.
        split: its part, such as "train" or "train[:90%]".
        video: name of the feature with the video, a `tfds.features.Video`.
        label: name of the feature with the label: a `ClassLabel`, or a sequence of them for videos
            with several classes.
        data_dir: where the data set was prepared, if `builder` is a name; None for the usual place.

    Returns:
        A sequence of `VideoRecord`, with `class_names`.

    Raises:
        ImportError: tensorflow_datasets is missing.
        FileNotFoundError: the data set has not been prepared.
        ValueError: its files cannot be read by number, or a feature is none of these.

    Example:

    >>> train = from_tfds("ucf101", split="train")
    >>> videos = VideoSet(train=train, validation=from_tfds("ucf101", split="test"))
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "Data sets of TensorFlow Datasets need it: pip install 'keras-multigrid[tfds]'."
        ) from error
    if isinstance(builder, (str, os.PathLike)):
        builder = tfds.builder(os.fspath(builder), data_dir=data_dir)
    info = builder.info
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"There is no data set in '{builder.data_path}'. Prepare it: "
            f"tfds build {info.name} --file_format=array_record."
        )
    features = dict(info.features.items())
    _check_video(features, video)
    names, multi_label = _classes(features, label)
    try:
        source = builder.as_data_source(
            split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
    except NotImplementedError as error:
        raise ValueError(
            "`builder` must have files that can be read by number. Received: "
            f"{info.full_name} in '{builder.data_path}', as {info.file_format.value}. Prepare it "
            "with file_format='array_record', or change the files by `tfds convert_format`. For "
            "another format use `resample` with tfds.load(..., as_supervised=True)."
        ) from error
    return _TfdsVideos(f"tfds:{info.full_name}/{split}", source, video, label, names, multi_label)


class _TfdsVideos(IndexedVideos):
    """Serialized `tf.train.Example`s, each with the pictures of a video."""

    # Both are in one record.
    reads_videos_for_labels = True

    def __init__(self, name: str, source, video: str, label: str, names, multi_label: bool):
        super().__init__(name, len(source), names, multi_label=multi_label)
        self._source, self._features = source, (video, label)

    def label(self, index):
        return self._read(index)[1]

    def open(self, index):
        pictures, label = self._read(index)
        path = self.path(index)
        return Pictures(_Encoded(pictures, path), path, label)

    def _read(self, index: int):
        example = tf.train.Example.FromString(self._source[index])
        video, label = (example.features.feature[name] for name in self._features)
        labels = tuple(label.int64_list.value)
        if (not self.multi_label and len(labels) != 1) or min(labels, default=0) < 0:
            raise DecodeError(f"'{self.path(index)}' has no label. Use another split.")
        return video.bytes_list.value, tuple(sorted(set(labels))) if self.multi_label else labels[0]


class _Encoded:
    """The pictures of a video in memory, encoded."""

    def __init__(self, contents, path: str):
        self._contents, self._path = contents, path

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, index: int) -> bytes:
        return self._contents[index]

    def name(self, index: int) -> str:
        return f"frame {index} of {self._path}"


def _check_video(features: dict[str, Any], name: str) -> None:
    from tensorflow_datasets import features as kinds

    if not isinstance(features.get(name), kinds.Video):
        raise ValueError(
            f"`video` must name a feature that is a tfds.features.Video. Received: {name!r}, of "
            f"{features}."
        )


def _classes(features: dict[str, Any], name: str) -> tuple[list[str], bool]:
    """Names of the classes, and whether a video may have several."""
    from tensorflow_datasets import features as kinds

    feature = features.get(name)
    multi_label = isinstance(feature, kinds.Sequence)
    kind = feature.feature if multi_label else feature
    if not isinstance(kind, kinds.ClassLabel):
        raise ValueError(
            f"`label` must name a feature that is a tfds.features.ClassLabel, or a sequence of "
            f"them. Received: {name!r}, of {features}."
        )
    return kind.names, multi_label
