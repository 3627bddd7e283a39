"""What one would take without this package: a PyTorch DataLoader over PyAV or decord.

Run by input_pipeline.py with a Python that has PyTorch: reads jobs as JSON, prints rates as JSON.
"""

import importlib
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def main() -> None:
    torch.set_num_threads(1)
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    read, module = {
        "pyav": (read_pyav, "av"),
        "decord": (read_decord, "decord"),
        "pillow": (read_pillow, "PIL.Image"),
    }[job["reader"]]
    workers = job["workers"]
    # The workers' start is not counted: time runs from when each has given an empty batch.
    clips = [None] * workers * job["batch_size"] + job["clips"]
    batches = iter(
        DataLoader(Clips(clips, read, module), batch_size=job["batch_size"], num_workers=workers)
    )
    for _ in range(workers):
        next(batches)
    begun = time.perf_counter()
    count = sum(len(labels) for _, labels in batches)
    print(json.dumps({"clips_per_second": count / (time.perf_counter() - begun)}))


class Clips(Dataset):
    """The clips of a list, each read by `read(path, indices)`."""

    def __init__(self, clips, read, module):
        self.clips = clips
        self.read = read
        self.module = module

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, number):
        clip = self.clips[number]
        if clip is None:
            importlib.import_module(self.module)
            return torch.zeros(1), 0
        frames = self.read(clip["path"], clip["indices"])
        top, left, side = clip["window"]
        part = np.ascontiguousarray(frames[:, top : top + side, left : left + side])
        images = torch.from_numpy(part).permute(0, 3, 1, 2).float()
        images = F.interpolate(images, size=(clip["crop_size"],) * 2, mode="bilinear")
        if clip["flip"]:
            images = images.flip(3)
        return ((images / 255 - 0.45) / 0.225).permute(1, 0, 2, 3).contiguous(), 0


def read_pyav(path, indices):
    """Seek to the key frame before, decode, convert the wanted frames."""
    import av

    images, wanted = {}, set(indices)
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        rate = stream.average_rate * stream.time_base
        container.seek(int(indices[0] / rate), stream=stream)
        for frame in container.decode(stream):
            index = round(frame.pts * rate)
            if index in wanted:
                images[index] = frame.to_ndarray(format="rgb24")
            if index >= indices[-1]:
                break
    return np.stack([images[index] for index in indices])


def read_decord(path, indices):
    """Decord's own choice of frames."""
    import decord

    return decord.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()


def read_pillow(path, indices):
    """JPEG files of a folder."""
    from PIL import Image

    names = sorted(os.listdir(path))
    images = {i: np.asarray(Image.open(os.path.join(path, names[i]))) for i in set(indices)}
    return np.stack([images[index] for index in indices])


if __name__ == "__main__":
    main()
