"""A user's own videos: a folder or a list, split by a rule that is found and stated."""

import dataclasses
import os
import re
from collections.abc import Collection, Sequence

from keras_multigrid import files
from keras_multigrid.data.lists.balanced_split import balanced_split
from keras_multigrid.data.lists.class_column import named_classes
from keras_multigrid.data.lists.folders import class_folders
from keras_multigrid.data.lists.groups import find_groups
from keras_multigrid.data.lists.path_lists import path_label_lists
from keras_multigrid.data.lists.split_rules import group_in
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

_TRAIN = ("train", "training")
_VALIDATION = ("val", "validation", "valid", "test", "testing")
_LISTS = (".csv", ".txt", ".tsv")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnVideos:
    """Videos before they are split.

    Args:
        records: all videos.
        names: what names each of them in its folder or list.
        class_names: name of each class.
        notes: what was left out or assumed.
        is_validation: the split that the folder has, if it has one; empty: none.
    """

    records: tuple[VideoRecord, ...]
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    is_validation: tuple[bool, ...] = ()

    def without(self, paths: Collection[str]) -> "OwnVideos":
        """The set without the videos of these paths, nor classes that then have none."""
        kept = [i for i, record in enumerate(self.records) if record.path not in paths]
        parts = {
            name: tuple(getattr(self, name)[i] for i in kept if getattr(self, name))
            for name in ("records", "names", "is_validation")
        }
        return dataclasses.replace(self, **parts)._with_classes_that_occur()

    def _with_classes_that_occur(self) -> "OwnVideos":
        present = sorted({record.label for record in self.records})
        if len(present) == len(self.class_names):
            return self
        left_out = [
            name for label, name in enumerate(self.class_names) if label not in set(present)
        ]
        number_of = {label: number for number, label in enumerate(present)}
        return dataclasses.replace(
            self,
            records=tuple(
                dataclasses.replace(record, label=number_of[record.label])
                for record in self.records
            ),
            class_names=tuple(self.class_names[label] for label in present),
            notes=(*self.notes, f"classes without videos left out: {', '.join(left_out)}"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Videos in two parts, and why.

    Args:
        videos: the set.
        rule: how it was split, in words.
        reason: why so, with an example.
    """

    videos: VideoSet
    rule: str
    reason: str


def read_own(source: str) -> OwnVideos:
    """Read a folder of class folders, a folder of train/ and val/ of them, or a list.

        my_videos/walk/denis_walk.avi            classes are folders
        my_videos/train/walk/denis_walk.avi      with a split of its own
        my_videos.csv                            lines like walk/denis_walk.avi,walk

    Paths of a list are relative to its folder. Labels may be names or numbers.

    Raises:
        FileNotFoundError: there is neither such a folder nor such a file, or it holds no classes.
        BadLinesError: lines of a list are wrong.
        ValueError: there are no two classes with videos.
    """
    own = read_videos(source)
    if len(own.class_names) < 2:
        found = ", ".join(map(repr, own.class_names)) or "none"
        raise ValueError(
            f"'{source}' must have videos of two classes at least. Received: {found}. Put the "
            "videos of each class into a folder of its own, or list them as path,label."
            + "".join(f"\n{note[0].upper()}{note[1:]}." for note in own.notes)
        )
    return own


def read_videos(source: str) -> OwnVideos:
    """`read_own`, for any number of classes."""
    is_list = source.lower().endswith(_LISTS) and not files.is_folder(source)
    own = _read_list(source) if is_list else _read_folder(source)
    return own.without(())


def split_own(
    own: OwnVideos, *, group: str | None = None, share: float = 0.2, seed: int = 0
) -> Split:
    """Split videos: as their folder is, else by groups that names show, else by class.

    Args:
        own: the videos.
        group: regular expression whose first group names the video's group, searched for in its
            name; "none" for no groups; None finds them.
        share: of validation videos.
        seed: of the choice.

    Raises:
        ValueError: if `group` is no pattern, does not match, or there is one group alone.
    """
    if own.is_validation and group is None:
        rule, chosen = "the folder's own", own.is_validation
        reason = "it has a part to train on and one to validate on"
        return _parts(own, chosen, rule, reason)
    classes = [own.class_names[record.label] for record in own.records]
    # Parts of one file stay together, whatever their labels.
    groups, rule = (
        [record.path for record in own.records],
        f"{share:.0%} of each class, seed {seed}",
    )
    if group not in (None, "none"):
        groups = _matched(group, own.names)
        reason = f"groups by {group!r}: {_example(own.names[0], groups[0])}"
    elif group == "none":
        reason = "no groups, as asked for"
    elif found := find_groups(own.names, classes):
        groups = found.groups
        reason = f"{found.place} names a group: {_example(own.names[0], groups[0])}"
    else:
        reason = (
            "names show no groups clearly. Where several videos show one person or place, name "
            "what they share: otherwise the result is too good"
        )
    if len(set(groups)) < len(set(record.path for record in own.records)):
        count = len(set(groups))
        rule = f"whole groups, {share:.0%} of each class, seed {seed}"
        reason = f"{reason}; {count:,} groups, none in both parts"
    labels = [record.label for record in own.records]
    return _parts(own, balanced_split(labels, groups, share=share, seed=seed), rule, reason)


def _example(name: str, group: str) -> str:
    return f"{os.path.basename(name)} is of {group!r}"


def _matched(pattern: str, names: Sequence[str]) -> list[str]:
    regex = re.compile(pattern)
    if regex.groups < 1:
        raise ValueError(
            "`group` must have a part in parentheses, which names the group. Received: "
            f"{pattern!r}. For walk/denis_walk.avi use '/([a-z]+)_'."
        )
    groups = [group_in(regex, name) for name in names]
    if len(set(groups)) < 2:
        raise ValueError(
            f"`group` must name two groups at least. Received: {pattern!r}, which names "
            f"{groups[0]!r} in all {len(names):,} videos."
        )
    return groups


def _parts(own: OwnVideos, chosen: Sequence[bool], rule: str, reason: str) -> Split:
    train, validation = (
        tuple(record for record, is_own in zip(own.records, chosen, strict=True) if is_own is part)
        for part in (False, True)
    )
    if not validation or not train:
        raise ValueError(
            "There must be videos to train and to validate on. Received: "
            f"{len(train):,} and {len(validation):,}, split by {rule}. Add videos: a class needs "
            "two at least to be tested."
        )
    videos = VideoSet(
        train=train, validation=validation, class_names=own.class_names, notes=own.notes
    )
    return Split(videos=videos, rule=rule, reason=reason)


# ---- Reading -------------------------------------------------------------------------------------


def _read_folder(root: str) -> OwnVideos:
    folders = {}
    if files.is_folder(root):
        names = [name for name in files.list_folder(root) if not name.startswith(".")]
        folders = {name.lower(): name for name in names if files.is_folder(f"{root}/{name}")}
    train = next((folders[name] for name in _TRAIN if name in folders), None)
    validation = next((folders[name] for name in _VALIDATION if name in folders), None)
    is_split = train and validation and len(folders) <= 3 and _has_folders(f"{root}/{train}")
    if not folders:
        raise FileNotFoundError(
            "There must be a folder of videos for each class, such as my_videos/walk/denis.avi. "
            f"Received: '{root}', which is missing or holds no folders. Give the folder that holds "
            "those of the classes."
        )
    if not is_split:
        return _unsplit(root, class_folders(root, validation=_first))
    videos = class_folders(f"{root}/{train}", validation=f"{root}/{validation}")
    records = (*videos.train, *videos.validation)
    return OwnVideos(
        records=records,
        names=_relative(records, root),
        class_names=videos.class_names,
        notes=(*videos.notes, f"trained on '{train}' and validated on '{validation}'"),
        is_validation=(False,) * len(videos.train) + (True,) * len(videos.validation),
    )


def _has_folders(folder: str) -> bool:
    return any(files.is_folder(f"{folder}/{name}") for name in files.list_folder(folder))


def _read_list(path: str) -> OwnVideos:
    root = os.path.dirname(path)
    names = named_classes(path, root)
    videos = path_label_lists(path, validation=_first, root=root, class_names=names)
    return _unsplit(root, videos)


def _first(paths: Sequence[str]) -> list[bool]:
    """Stands for a rule: the split is made when all videos are known."""
    return [number == 0 for number in range(len(paths))]


def _unsplit(root: str, videos: VideoSet) -> OwnVideos:
    records = (*videos.validation, *videos.train)
    return OwnVideos(
        records=records,
        names=_relative(records, root),
        class_names=videos.class_names,
        notes=videos.notes,
    )


def _relative(records: Sequence[VideoRecord], root: str) -> tuple[str, ...]:
    start = os.path.join(root, "") if root else ""
    return tuple(record.path.removeprefix(start) for record in records)
