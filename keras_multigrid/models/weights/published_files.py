"""Files of weights that others have published: where they are, and what their authors say of them.

Addresses, accuracies and inputs are those of PySlowFast's MODEL_ZOO.md, projects/mvitv2/README.md
and configs/ (github.com/facebookresearch/SlowFast, commit 287ec00). Its authors publish no
checksums. Left out is what is not published as a file (MViT-B 16x4 is a page of Google Drive) or of
another network: C2D_NOPOOL_8x8_R50.pkl was trained without the pooling of `C2D`.

Those of VideoMAE are on Hugging Face's hub: of its first version as their authors' group has put
them there, with the accuracies of their model cards and of MCG-NJU/VideoMAE's MODEL_ZOO.md, whose
own files, those that learnt to fill in among them, are pages of Google Drive; of the second, with
those of OpenGVLab/VideoMAEv2's docs/MODEL_ZOO.md.
"""

import dataclasses
import functools
from collections.abc import Mapping

from keras_multigrid.checks import check_choice


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A published file of weights.

    Args:
        name: of the network, one of `models.names()`.
        tag: which weights of it, mostly the data that it was trained on: "kinetics400".
        url: address of the file.
        file: its name in a folder of weights, and in Keras' cache.
        sha256: its checksum, hexadecimal; None where none is published.
        classes: number of classes.
        classifier_activation: "softmax", or "sigmoid" where clips have several labels.
        num_frames, stride, crop_size: the clips that it was trained on: frames, source frames from
            one to the next, height and width in pixels. Colours are red, green, blue, as for all
            networks here.
        segments: each frame was taken from a segment of the video, instead of at the stride.
        views: clips and crops of each video in the test.
        test_crop_size: height and width of the crops in the test, in pixels.
        accuracy: what its authors state of the test, in percent.
        note: what else there is to know.
        licence, source: of the file, and who publishes it.

    Example:

    >>> published_file("slowfast_8x8_r50", "kinetics400").accuracy
    {'top-1': 77.0, 'top-5': 92.6}
    """

    name: str
    tag: str
    url: str
    file: str
    classes: int
    num_frames: int
    stride: int
    crop_size: int
    views: tuple[int, int]
    test_crop_size: int
    accuracy: Mapping[str, float]
    segments: bool = False
    sha256: str | None = None
    classifier_activation: str = "softmax"
    note: str = ""
    licence: str = "Apache-2.0, that of PySlowFast; none is stated for the file itself"
    source: str = "PySlowFast, https://github.com/facebookresearch/SlowFast"


def published_file(name: str, tag: str) -> PublishedFile:
    """The published file of a network.

    Args:
        name: one of `models.names()`.
        tag: one of `published_tags(name)`.

    Raises:
        ValueError: there is none, with those that there are.
    """
    files = {file.tag: file for file in published_files() if file.name == name}
    if not files:
        names = sorted({file.name for file in published_files()})
        raise ValueError(
            f"There are no published weights of {name!r} that this package knows of. Received: "
            f"weights={tag!r}. Give the path of a file, or take one of {', '.join(names)}."
        )
    check_choice("weights", tag, tuple(files), f"Or give the path of a file of {name}.")
    return files[tag]


def published_tags(name: str | None = None) -> tuple[str, ...]:
    """Tags of the published weights of a network; of all networks, if None is named.

    >>> published_tags("mvitv2_s_16x4")
    ('kinetics400', 'something_something')
    """
    files = (file for file in published_files() if name in (None, file.name))
    return tuple(dict.fromkeys(file.tag for file in files))


@functools.cache
def published_files() -> tuple[PublishedFile, ...]:
    """All published files that there is an address of."""
    return (
        *_kinetics("i3d_8x8_r50", "I3D_8x8_R50", (8, 8), (73.5, 90.8)),
        *_kinetics("i3d_nln_8x8_r50", "I3D_NLN_8x8_R50", (8, 8), (74.0, 91.1)),
        *_kinetics("slow_4x16_r50", "SLOWONLY_4x16_R50", (4, 16), (72.7, 90.3)),
        *_kinetics("slow_8x8_r50", "SLOWONLY_8x8_R50", (8, 8), (74.8, 91.6)),
        *_kinetics("slowfast_4x16_r50", "SLOWFAST_4x16_R50", (32, 2), (75.6, 92.0)),
        *_kinetics("slowfast_8x8_r50", "SLOWFAST_8x8_R50", (32, 2), (77.0, 92.6)),
        *_multigrid_kinetics(),
        *_slowfast_16x8(),
        *_x3d(),
        *_transformers(),
        *_videomae(),
    )


# ---- The files, by the pages that list them ------------------------------------------------------

_HOST = "https://dl.fbaipublicfiles.com/pyslowfast"


def _kinetics(name, file, clip, accuracy, **others) -> tuple[PublishedFile, ...]:
    """Networks of Caffe2, trained for half a cosine."""
    return (_file(name, f"model_zoo/kinetics400/{file}.pkl", clip, accuracy, **others),)


def _multigrid_kinetics() -> tuple[PublishedFile, ...]:
    name, clip = "slowfast_8x8_r50", (32, 2)
    path = "pyslowfast/model_zoo/multigrid/model_zoo/Kinetics/SLOWFAST_8x8_R50_stepwise"
    settings = {"tag": "kinetics400_multigrid", "test_crop_size": 224}
    return (
        _file(name, f"{path}.pkl", clip, (76.8, 92.7), tag="kinetics400_stepwise"),
        _file(name, f"{path}_multigrid.pkl", clip, (76.6, 92.7), **settings),
    )


def _slowfast_16x8() -> tuple[PublishedFile, ...]:
    folder = "pyslowfast/model_zoo/multigrid/model_zoo"
    name, clip = "slowfast_16x8_r50", (64, 2)
    files = [
        *_kinetics(
            name,
            "SLOWFAST_8x8_R50",
            (32, 2),
            (77.0, 92.6),
            note="The file of slowfast_8x8_r50, which is the same network for shorter clips, and "
            "which the other files of this one were trained from.",
        )
    ]
    for end, results in (("", ((63.0, 88.5), 38.9)), ("_multigrid", ((63.5, 88.7), 38.6))):
        file = f"SLOWFAST_16x8_R50{end}.pkl"
        ssv2, charades = results
        # Both are published under one name.
        files += [
            _file(
                name,
                f"{folder}/SSv2/{file}",
                clip,
                ssv2,
                tag=f"something_something{end}",
                file=f"SSv2_{file}",
                classes=174,
                segments=True,
                views=(1, 1),
                test_crop_size=224 if end else 256,
            ),
            _file(
                name,
                f"{folder}/Charades/{file}",
                clip,
                {"mAP": charades},
                tag=f"charades{end}",
                file=f"Charades_{file}",
                classes=157,
                classifier_activation="sigmoid",
                note="The highest score of the views counts, not their mean.",
            ),
        ]
    return tuple(files)


def _x3d() -> tuple[PublishedFile, ...]:
    rows = (
        ("xs", (4, 12), (160, 182), 69.5, 68.7),
        ("s", (13, 6), (160, 182), 73.5, 73.1),
        ("m", (16, 5), (224, 256), 76.2, 75.1),
        ("l", (16, 5), (312, 356), 77.5, 76.9),
    )
    return tuple(
        _file(
            f"x3d_{size}",
            f"x3d_models/x3d_{size}.pyth",
            clip,
            {"top-1": accuracy},
            crop_size=crops[0],
            test_crop_size=crops[1],
            note=f"Of 10 views, {of_ten} is stated.",
        )
        for size, clip, crops, accuracy, of_ten in rows
    )


def _transformers() -> tuple[PublishedFile, ...]:
    folder = "model_zoo/mvitv2/pysf_video_models/MViTv2"
    small, base = ("mvitv2_s_16x4", (16, 4)), ("mvitv2_b_32x3", (32, 3))
    first = "mvit_b_32x3_conv", (32, 3)
    seen = {"views": (5, 1), "test_crop_size": 224}
    of_600 = {"tag": "kinetics600", "classes": 600}
    others = {"tag": "something_something", "classes": 174, "segments": True, "views": (1, 3)}
    rows = (
        (first, "model_zoo/mvit/k400", (80.4, 94.8), {}),
        (first, "model_zoo/mvit/k600", (83.9, 96.5), of_600),
        (small, f"{folder}_S_16x4_k400_f302660347", (81.0, 94.6), {}),
        (base, f"{folder}_B_32x3_k400_f304025456", (82.9, 95.7), {}),
        (small, f"{folder}_S_16x4_ssv2_f308341823", (68.2, 91.4), others),
        (base, f"{folder}_B_32x3_ssv2_f305803282", (70.5, 92.7), others),
    )
    return tuple(
        _file(name, f"{path}.pyth", clip, accuracy, **{**seen, **settings})
        for (name, clip), path, accuracy, settings in rows
    )


_HUB = "https://huggingface.co"


def _videomae() -> tuple[PublishedFile, ...]:
    small, base, first = "videomae_s_16x4", "videomae_b_16x4", "MCG-NJU/videomae"
    seen = {"views": (5, 3), "test_crop_size": 224, "host": _HUB}
    of_first = {
        **seen,
        "licence": "CC-BY-NC-4.0: not for commercial use",
        "source": "VideoMAE, https://github.com/MCG-NJU/VideoMAE",
    }
    of_second = {
        **seen,
        "tag": "kinetics710",
        "classes": 710,
        "licence": "Apache-2.0 by the page of the file; those of other networks of VideoMAE V2 "
        "state CC-BY-NC-4.0, not for commercial use",
        "source": "VideoMAE V2, https://github.com/OpenGVLab/VideoMAEv2",
        "note": "Distilled from ViT-g. Its classes are those of Kinetics-400, 600 and 700.",
    }
    rows = (
        # Of the first version, files are called after the repository that they are in.
        (small, f"{first}-small-finetuned-kinetics", "pytorch_model.bin", (79.0, 93.8), of_first),
        (base, f"{first}-base-finetuned-kinetics", "model.safetensors", (80.9, 94.7), of_first),
        (small, "OpenGVLab/VideoMAE2", "distill/vit_s_k710_dl_from_giant.pth", 77.6, of_second),
        (base, "OpenGVLab/VideoMAE2", "distill/vit_b_k710_dl_from_giant.pth", 81.5, of_second),
    )
    files = []
    for name, repository, path, accuracy, settings in rows:
        own, file = repository.split("/")[1], path.split("/")[-1]
        file = f"{own}.{file.split('.')[1]}" if settings is of_first else file
        accuracy = accuracy if isinstance(accuracy, tuple) else {"top-1": accuracy}
        path = f"{repository}/resolve/main/{path}"
        files.append(_file(name, path, (16, 4), accuracy, file=file, **settings))
    return tuple(files)


def _file(name, path, clip, accuracy, **others) -> PublishedFile:
    """A file below `_HOST`, or another `host`: of clips (frames, stride), with an accuracy.

    What is not given is that of most: Kinetics-400, 224 pixels, 10 x 3 views at 256.
    """
    if not isinstance(accuracy, Mapping):
        accuracy = dict(zip(("top-1", "top-5"), accuracy, strict=True))
    most = {
        "tag": "kinetics400",
        "file": path.rsplit("/", 1)[-1],
        "classes": 400,
        "crop_size": 224,
        "views": (10, 3),
        "test_crop_size": 256,
    }
    num_frames, stride = clip
    host = others.pop("host", _HOST)
    return PublishedFile(
        name=name,
        url=f"{host}/{path}",
        num_frames=num_frames,
        stride=stride,
        accuracy=accuracy,
        **{**most, **others},
    )
