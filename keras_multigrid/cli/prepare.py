r"""Write the videos of an experiment as records, which are read much faster.

    keras-multigrid prepare --gin_file=i3d_charades --out=data/charades_records
    keras-multigrid train --gin_file=i3d_charades --gin_file=data/charades_records/records.gin
    keras-multigrid prepare --verify --out=data/charades_records

It decodes every video, and writes into the folder `--out`, which may be remote (s3://, gs://):

    256/, ...        the frames, *.index and *.json beside them, and what the folder was begun with
    manifest.json    what there is, with the checksum of every file; written last
    bad_videos.tsv   path, part and reason of each video that could not be read
    records.gin      the settings to use them: give it to `train` as a second --gin_file

How they are written is set by records.RecordFormat:

    --gin_param='records.RecordFormat.short_sides=(256, 128)'

A command that was interrupted goes on when it is given again; with --retry_bad it tries bad videos
of finished shards, too: their disk may have been away. With --runner, an Apache Beam
pipeline does the work (an extra: make install-beam):

    --runner=DirectRunner --beam_option=--direct_num_workers=4 \
        --beam_option=--direct_running_mode=multi_processing

It ends with exit code 0, bad videos or not: they are left out, as training would replace them, and
named. With 1, if a setting is wrong, if something cannot be written, or if --verify finds a file
that is missing, short or corrupt.
"""

import os
import sys

from absl import app, flags

from keras_multigrid.cli import experiments
from keras_multigrid.progress import Progress

flags.DEFINE_string("out", None, "Folder to write to.")
flags.DEFINE_bool("verify", False, "Read all files of --out and compare their checksums.")
flags.DEFINE_bool("retry_bad", False, "Write the shards of bad videos again.")
flags.DEFINE_string("runner", None, "Apache Beam runner, such as DirectRunner. None: no Beam.")
flags.DEFINE_multi_string("beam_option", [], "Option of the Beam pipeline, such as --region=...")
FLAGS = flags.FLAGS


def main() -> None:
    """Run the command."""
    if not FLAGS.out:
        raise app.UsageError("--out is missing. Use for example --out=data/charades_records.")
    if FLAGS.beam_option and not FLAGS.runner:
        raise app.UsageError("--beam_option needs a --runner. Use for example DirectRunner.")
    if FLAGS.verify:
        _verify()
    else:
        _prepare()


def _prepare() -> None:
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid import files
    from keras_multigrid.data.records import preparing

    options = [f"--runner={FLAGS.runner}", *FLAGS.beam_option] if FLAGS.runner else None
    if FLAGS.retry_bad:
        preparing.forget_bad(FLAGS.out)
    prepared = experiments.configured(preparing.prepare)(
        root=FLAGS.out,
        beam_options=options,
        progress=Progress("video"),
    )
    rows = [("path", "part", "reason")]
    rows += [
        tuple(map(files.redacted, (video.path, video.part, video.reason))) for video in prepared.bad
    ]
    table = "".join("\t".join(" ".join(text.split()) for text in row) + "\n" for row in rows)
    out = FLAGS.out.rstrip("/")
    files.write(f"{out}/bad_videos.tsv", table.encode("utf-8", "surrogateescape"))
    files.write(f"{out}/records.gin", _gin(out, prepared.manifest))
    print(_summary(prepared))
    if prepared.bad:
        print(f"Videos left out, as they cannot be read: {len(prepared.bad)}, {out}/bad_videos.tsv")
    print(f"The settings to train on them: {out}/records.gin")


def _verify() -> None:
    from keras_multigrid.data.records import verifying

    faults = verifying.verify(FLAGS.out, progress=Progress("file"))
    for fault in faults:
        print(f"{fault.file}: {fault.reason}")
    if faults:
        names = " ".join(sorted({f"{fault.shard}.json" for fault in faults}))
        print(
            f"{len(faults)} files are not as they were written. Delete {names} in {FLAGS.out}, and "
            "give the command that wrote them again: it writes these shards anew.",
            file=sys.stderr,
        )
        sys.exit(1)
    print("Every file is as it was written.")


def _summary(prepared) -> str:
    shards = [shard for part in prepared.manifest.shards.values() for shard in part]
    videos = sum(shard.num_videos for shard in shards)
    frames = sum(shard.num_frames for shard in shards)
    size = sum(sum(shard.bytes.values()) for shard in shards)
    new = f"{prepared.num_new_shards} of them new" if prepared.num_new_shards else "nothing to do"
    return (
        f"{videos:,} videos, {frames:,} frames, {size / 1e6:,.1f} MB "
        f"in {len(shards)} shards, {new}: {FLAGS.out}"
    )


def _gin(root, manifest) -> str:
    """Settings that put the records in the place of an experiment's own data."""
    if "://" not in root:
        # Read from whatever folder.
        root = os.path.abspath(root)
    lines = [
        "from __gin__ import dynamic_registration",
        "from keras_multigrid.data import records",
        # A scope of its own: the experiment's settings, and the names that they use, stay.
        "VIDEOS = @prepared/records.recorded_videos()",
        f"NUM_CLIPS = {sum(shard.num_videos for shard in manifest.shards['train'])}",
        f"prepared/records.recorded_videos.root = {root!r}",
    ]
    return "\n".join(lines) + "\n"
