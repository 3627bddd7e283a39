"""The README of a preset: what a network is, where it is from, how it is used."""

import keras

from keras_multigrid.models.preset import UNKNOWN, Origin, Preset


def model_card(model: keras.Model, preset: Preset, origin: Origin) -> str:
    """The card of a network, in Markdown, with the head that Hugging Face reads."""
    clips = preset.preprocessing
    accuracy = ", ".join(f"{name} {value:g}" for name, value in origin.accuracy.items())
    stated = f"{accuracy} ({origin.measured})" if accuracy and origin.measured else accuracy
    frames = (
        f"{clips.num_frames} frames, one from each of as many segments of the video"
        if clips.segments
        else f"{clips.num_frames} frames, every {clips.stride} frames of the video"
    )
    kind = "clips may have several of them" if preset.multi_label else "each clip has one of them"
    crop = clips.crop_size
    count = getattr(model, "parameter_count", None) or model.count_params()
    rows = {
        "network": f"{type(model).__name__}, {count:,} parameters",
        "trained on": origin.data,
        "source": origin.source,
        "file": origin.url,
        "licence": origin.licence,
        "accuracy, as its authors state it": stated or UNKNOWN,
        "input": f"(batch, {clips.num_frames}, {crop}, {crop}, 3), float32: {frames}; red, green, "
        f"blue as (colour / 255 - {clips.mean}) / {clips.std}",
        "output": f"(batch, {len(preset.class_names)}), classes as in `classes.json`; {kind}",
    }
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    notes = f"{origin.notes}\n\n" if origin.notes else ""
    return _CARD.format(name=model.name, table=table, notes=notes)


_CARD = """---
library_name: keras
pipeline_tag: video-classification
---

# {name}

| | |
|---|---|
{table}

{notes}## Use

```python
from keras_multigrid import models

model = models.from_preset("FOLDER")
class_names = models.read_preset("FOLDER").class_names
```

```sh
keras-multigrid predict --preset=FOLDER my_video.mp4
```

A network of [keras_multigrid](https://arxiv.org/abs/1912.00998). Loading it runs no code of this
folder.
"""
