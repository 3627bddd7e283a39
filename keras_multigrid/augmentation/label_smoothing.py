"""Labels that are less certain."""

import dataclasses

from keras import ops

from keras_multigrid.augmentation.augmentation import Augmentation, check_soft
from keras_multigrid.checks import check_probability


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Augmentation):
    """Spread a share of every label over all classes.

    With e = smoothing * strength, a label y of K classes becomes y (1 - e) + e / K (Szegedy et al.,
    arXiv 1512.00567, section 7); where videos have any number of classes, y (1 - e) + e / 2.
    Validation labels stay as they are.

    Args:
        smoothing: the share, at full strength.
        multi_label: whether videos have any number of classes each, as in a `MultiLabel` task.

    Raises:
        ValueError: if `smoothing` is not in [0, 1].

    Example:

    >>> augment = Compose([LabelSmoothing(smoothing=0.1)])
    """

    smoothing: float = 0.1
    multi_label: bool = False

    mixes_labels = True

    def __post_init__(self):
        check_probability("smoothing", self.smoothing)

    def __call__(self, clips, labels, numbers, work):
        check_soft(labels, "LabelSmoothing")
        share = ops.cast(self.smoothing * work, labels.dtype)
        spread = 1 / 2 if self.multi_label else 1 / labels.shape[1]
        return clips, labels * (1 - share) + share * spread
