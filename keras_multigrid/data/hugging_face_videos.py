"""Video data sets of Hugging Face `datasets`."""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from keras_multigrid import files
from keras_multigrid.data.indexed_videos import IndexedVideos
from keras_multigrid.data.lists.parts import most_classes
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video_file import VideoFile


def from_hugging_face(
    dataset: Any,
    *,
    video: str = "video",
    label: str = "label",
    class_names: Sequence[str] | None = None,
) -> IndexedVideos:
    """The videos of a data set of Hugging Face `datasets`, to train on or to validate on.

    A video is read when its turn comes, from its file or from the bytes in the data set, and
    decoded here, only the frames of the clip: torchcodec is not needed. Transformations and formats
    of the data set are not applied.

    Args:
        dataset: a `datasets.Dataset`: one split, not streamed. Its order is kept, and so is what
            `select`, `filter` and `shuffle` made of it.
        video: name of the column with the video, of type `datasets.Video`, decoded or not.
        label: name of the column with the label: a `ClassLabel`, text or a number, or a list of
            these for videos with several classes.
        class_names: in the order of their numbers. None takes those of a `ClassLabel`; of texts,
            all different ones in alphabetical order; of numbers, 0 to the highest one.

    Returns:
        A sequence of `VideoRecord`, with `class_names`.

    Raises:
        ImportError: datasets is missing.
        ValueError: it is no such data set, a column is missing or of another type, or videos have
            no label.

    Example:

    >>> data = datasets.load_dataset("videofolder", data_dir="my_videos")
    >>> train = from_hugging_face(data["train"])
    >>> videos = VideoSet(train=train, validation=from_hugging_face(data["test"]))
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            "Data sets of Hugging Face need `datasets`: pip install 'keras-multigrid[hf]'."
        ) from error
    if not isinstance(dataset, datasets.Dataset):
        raise ValueError(
            "`dataset` must be a datasets.Dataset, which is read by number. Received: "
            f"{type(dataset).__name__}. Take one split, dataset['train'], and load it without "
            "streaming=True."
        )
    if not isinstance(dataset.features.get(video), datasets.Video):
        raise ValueError(
            f"`video` must name a column of type datasets.Video. Received: {video!r}, of "
            f"{dataset.features}. Change its type: "
            "dataset.cast_column('video', datasets.Video(decode=False))."
        )
    if label not in dataset.features:
        raise ValueError(
            f"`label` must name a column. Received: {label!r}. There are: "
            f"{', '.join(dataset.column_names)}."
        )
    dataset = dataset.with_format(None).cast_column(video, datasets.Video(decode=False))
    values = dataset.select_columns([label])[:][label]
    if class_names is None:
        class_names = _names(dataset.features[label], values, label)
    labels, multi_label = _numbered(values, class_names, label)
    return _HuggingFaceVideos(dataset, video, labels, class_names, multi_label)


class _HuggingFaceVideos(IndexedVideos):
    """Rows of an Arrow table, each with the path or the content of a file."""

    def __init__(self, dataset, video: str, labels: list, class_names, multi_label: bool):
        name = f"hf:{dataset.info.dataset_name or 'dataset'}/{dataset.split or 'all'}"
        super().__init__(name, len(dataset), class_names, multi_label=multi_label)
        self._rows = dataset.select_columns([video])
        # The content of a file is not read to know its path.
        self._paths = self._rows.with_format("arrow")
        self._video, self._labels = video, labels

    @functools.cached_property
    def fingerprint(self) -> str:
        # The library's own depends on where its files are.
        digest = hashlib.sha256(repr(self._labels).encode()).hexdigest()
        return f"{len(self)} videos of {self.name}, {digest[:16]}"

    def is_remote(self, index):
        path = self._path_in_row(index)
        return bool(path) and files.is_remote(path)

    def path(self, index):
        path = self._path_in_row(index)
        if path and not files.is_remote(path) and files.is_file(path):
            return path
        # As it is no address any more, nothing later would find the secrets in it.
        path = files.redacted(path or "")
        return f"{super().path(index)}{f'/{path}' * bool(path)}".replace("://", ":/")

    def _path_in_row(self, index):
        return self._paths[index].column(self._video).chunk(0).field("path")[0].as_py()

    def label(self, index):
        return self._labels[index]

    def open(self, index):
        value = self._rows[index][self._video] or {}
        path, content = value.get("path"), value.get("bytes")
        if content is None and path is None:
            raise DecodeError(f"'{self.path(index)}' has no video: neither a path nor bytes.")
        if content is None and files.is_remote(path):
            content = _content(path)
        label = self._labels[index]
        if content is None:
            return VideoFile(path, label)
        return VideoFile(self.path(index), label, content=content)


def _content(address: str) -> bytes:
    """A remote file, such as hf://datasets/..., or a file within an archive, zip://...::..."""
    if "::" not in address:
        # Its server may be away, which is no fault of the video.
        with files.open_file(address) as file:
            return file.read()
    import fsspec

    with fsspec.open(address) as file:
        return file.read()


def _names(feature: Any, values: Sequence[Any], column: str) -> list[str]:
    """Names of the classes, by the column's type, or by what stands in it."""
    kind = getattr(feature, "feature", feature)
    if hasattr(kind, "names"):
        return list(kind.names)
    each = (name for value in values for name in (value if isinstance(value, list) else [value]))
    # Rows without a label, or with another kind of it, are refused by their number later.
    found = {name for name in each if isinstance(name, (str, int))}
    if found and all(isinstance(name, str) for name in found):
        return sorted(found)
    highest = max(found, default=-1)
    if highest >= most_classes(len(values)):
        raise ValueError(
            f"The column {column!r} must hold numbers of classes, which count from 0, or "
            f"`class_names` must name them. Received: {highest}, which would make {highest + 1:,} "
            f"classes, of {len(values):,} videos. If the numbers are names, make texts of them: "
            f"dataset.cast_column({column!r}, datasets.Value('string'))."
        )
    return [str(number) for number in range(highest + 1)]


def _numbered(values: Sequence[Any], class_names: Sequence[str], column: str):
    """Labels as numbers or tuples of numbers, and whether they are tuples."""
    number_of = {name: number for number, name in enumerate(class_names)}

    def number(value: Any, row: int) -> int:
        found = number_of.get(value) if isinstance(value, str) else value
        if not isinstance(found, int) or not 0 <= found < len(class_names):
            raise ValueError(
                f"The column {column!r} must hold a class for each video, one of the "
                f"{len(class_names)} names or numbers. Received: {value!r} in row {row}. Use "
                "another split, or dataset.filter to leave such rows out."
            )
        return found

    def numbers(value: Any, row: int) -> tuple[int, ...]:
        # That nobody has looked is not that there is none: that is an empty list.
        each = value if isinstance(value, list) else [value]
        return tuple(sorted({number(one, row) for one in each}))

    if not any(isinstance(value, list) for value in values):
        return [number(value, row) for row, value in enumerate(values)], False
    return [numbers(value, row) for row, value in enumerate(values)], True
