"""Tiny data sets, laid out as the published ones are given out."""

import json

import av
import numpy as np
from PIL import Image

NUM_TRAIN, NUM_VALIDATION = 7, 4
# Two classes, in turn.
NUMBERS = range(NUM_TRAIN + NUM_VALIDATION)


def _frames(number):
    """A bright square that moves right in one class, down in the other."""
    for frame in range(20):
        picture = np.full((48, 56, 3), 20 * number, np.uint8)
        place = [8, 8 + frame] if number % 2 else [8 + frame, 8]
        picture[place[0] : place[0] + 12, place[1] : place[1] + 12] = 255
        yield picture


def _write_video(path, number, codec):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 56, "yuv420p"
        for picture in _frames(number):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _write_lists(root, lists):
    for name, lines in lists.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _parts():
    """Names of the parts, and the numbers of their videos."""
    return (("train", NUMBERS[:NUM_TRAIN]), ("validation", NUMBERS[NUM_TRAIN:]))


def kinetics(root):
    """Lists of labels, YouTube ids and times; one folder a label. Returns gin's bindings."""
    labels = ("abseiling", "air drumming")
    for part, numbers in _parts():
        lines = ["label,youtube_id,time_start,time_end,split"]
        for number in numbers:
            label = labels[number % 2]
            lines.append(f"{label},--video_{number:03d},{number},{number + 10},{part[:5]}")
            name = f"{label}/--video_{number:03d}_{number:06d}_{number + 10:06d}.mp4"
            _write_video(root / "videos" / name, number, "libx264")
        _write_lists(root, {f"{part}.csv": lines})
    return [
        f"TRAIN_LIST='{root}/train.csv'",
        f"VALIDATION_LIST='{root}/validation.csv'",
        f"VIDEO_DIR='{root}/videos'",
    ]


def something_something(root):
    """JSON lists of ids and templates, numbers of the labels; one folder of .webm files."""
    templates = ("Moving [something] down", "Pushing [something] to the right")
    for part, numbers in _parts():
        entries = [
            {
                "id": str(100 + number),
                "label": templates[number % 2].replace("[something]", "a cup").lower(),
                "template": templates[number % 2],
                "placeholders": ["a cup"],
            }
            for number in numbers
        ]
        (root / f"{part}.json").write_text(json.dumps(entries))
        for number in numbers:
            _write_video(root / "videos" / f"{100 + number}.webm", number, "libvpx-vp9")
    labels = {"Moving something down": "0", "Pushing something to the right": "1"}
    (root / "labels.json").write_text(json.dumps(labels))
    return [
        f"TRAIN_LIST='{root}/train.json'",
        f"VALIDATION_LIST='{root}/validation.json'",
        f"LABELS='{root}/labels.json'",
        f"VIDEO_DIR='{root}/videos'",
    ]


def charades(root):
    """Lists of one frame a line with their labels; one folder of JPEGs a video."""
    for part, numbers in _parts():
        lines = ["original_vido_id video_id frame_id path labels"]
        for number in numbers:
            video = f"VID{number:02d}"
            (root / "rgb" / video).mkdir(parents=True)
            for frame, picture in enumerate(_frames(number)):
                path = f"{video}/{video}-{frame + 1:06d}.jpg"
                Image.fromarray(picture).save(root / "rgb" / path)
                labels = ",".join(map(str, (number % 2, 156)[: 1 + frame // 10]))
                lines.append(f'{video} {number} {frame} {path} "{labels}"')
        _write_lists(root, {f"{part}.csv": lines})
    return [
        f"TRAIN_LIST='{root}/train.csv'",
        f"VALIDATION_LIST='{root}/validation.csv'",
        f"FRAMES='{root}/rgb'",
    ]


def ucf101(root):
    """A folder of lists, one folder of .avi files a class."""
    classes = ("ApplyEyeMakeup", "Archery")
    paths = [f"{classes[n % 2]}/v_{classes[n % 2]}_g{n:02d}_c01.avi" for n in NUMBERS]
    for number, path in enumerate(paths):
        _write_video(root / "UCF-101" / path, number, "mpeg4")
    lists = {
        "classInd.txt": [f"{index} {name}" for index, name in enumerate(classes, 1)],
        "trainlist01.txt": [f"{paths[n]} {n % 2 + 1}" for n in NUMBERS[:NUM_TRAIN]],
        "testlist01.txt": [paths[n] for n in NUMBERS[NUM_TRAIN:]],
    }
    _write_lists(root / "ucfTrainTestlist", lists)
    return [f"SPLITS='{root}/ucfTrainTestlist'", f"VIDEO_DIR='{root}/UCF-101'"]


def hmdb51(root):
    """A folder of one list a class and split, one folder of .avi files a class."""
    lists = {}
    for number in NUMBERS:
        name = ("brush_hair", "cartwheel")[number % 2]
        video = f"clip_{number}_{name}_u_nm_np1_ba_goo_0.avi"
        _write_video(root / "videos" / name / video, number, "mpeg4")
        use = 1 if number < NUM_TRAIN else 2
        lists.setdefault(f"{name}_test_split1.txt", []).append(f"{video} {use} ")
    _write_lists(root / "splits", lists)
    return [f"SPLITS='{root}/splits'", f"VIDEO_DIR='{root}/videos'"]
