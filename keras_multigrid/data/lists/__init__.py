"""Sets of videos from folders and lists."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "BadLinesError": "lines",
        "by_fraction": "split_rules",
        "by_pattern": "split_rules",
        "by_group": "split_rules",
        "charades_frame_lists": "frame_lists",
        "class_folders": "folders",
        "hmdb51": "published_sets",
        "kinetics": "published_sets",
        "path_label_lists": "path_lists",
        "validation_groups": "grouping",
        "something_something": "published_sets",
        "ucf101": "published_sets",
    },
)
