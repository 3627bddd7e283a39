"""A folder of videos in; a trained network and a report to show out."""

import functools
import os

from keras_multigrid import files
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.progress import Progress, as_time
from keras_multigrid.runs.finetuning import preparation, reporting
from keras_multigrid.runs.finetuning.machine import this_machine
from keras_multigrid.runs.finetuning.request import Request
from keras_multigrid.runs.finetuning.rules import copy_side
from keras_multigrid.runs.finetuning.run_settings import run_settings, schedule_settings
from keras_multigrid.runs.plan import make_plan
from keras_multigrid.runs.plan_table import format_plan
from keras_multigrid.runs.probing import probe
from keras_multigrid.runs.report import Report
from keras_multigrid.runs.settings import Settings
from keras_multigrid.runs.training import train

_RECORDS = "records"


def finetune(request: Request, *, dry_run: bool = False) -> Report | None:
    """Train on a user's videos: split, choices and plan are printed before it begins.

    The run folder gets what any run has, the lists of the split (`videos/`), what was chosen
    (`finetune.json`), and the page (`report.html`). A run that was stopped goes on where it
    stopped, with what it began with; a finished one gets its page again if that is missing.

    Args:
        request: what is asked for.
        dry_run: print and stop; nothing is written.

    Returns:
        The `Report`; None after a dry run.

    Raises:
        ValueError: if no model can be trained with the videos, or the run began otherwise.
        FileNotFoundError: if there are no videos, or not the weights.
        Others: those of `train`.

    Example:

    >>> finetune(Request(source="my_videos", run_dir="runs/mine"))
    """
    machine = this_machine()
    prepared = preparation.prepare(request, machine)
    plan = _plan(run_settings(prepared.choice, prepared.videos, request=request))
    if prepared.seconds is not None:
        plan += f"\n{_time(prepared.seconds, request.minutes)}"
    print(f"\n{prepared}\n\n{plan}\n", flush=True)
    if dry_run:
        return None
    preparation.save(prepared, request)
    texts = {"choices.txt": f"{prepared}\n\n{plan}\n"}
    make_settings = functools.partial(run_settings, prepared.choice, request=request, texts=texts)
    videos, schedule = _training_videos(prepared, request), None
    if request.probe_work is not None:
        kept = schedule_settings(request)
        result = probe(make_settings(videos), work=request.probe_work, kept=kept)
        schedule = result.schedule
        plan = f"{result}\n\n{_plan(make_settings(videos, schedule=schedule))}"
        print(f"\n{plan}\n", flush=True)
    report = train(make_settings(videos, schedule=schedule))
    path = os.path.join(request.run_dir, reporting.PAGE)
    if report is not None and not files.exists(path):
        print("\nTesting on the validation videos", flush=True)
        # On the videos themselves, which the page names.
        settings = make_settings(prepared.videos, schedule=schedule)
        page = reporting.write_page(prepared, settings, report, plan)
        print(f"{page.value:.0%} of {page.count:,} validation videos right ({page.result})")
    print(f"report:  {path}\npredict: {reporting.predict_line(request.run_dir)}")
    return report


def _time(seconds: float, minutes: float) -> str:
    text = (
        f"Time: about {as_time(seconds)}, by steps on noise timed on this machine just now; "
        "reading videos comes on top where it is slower."
    )
    if seconds > 60 * minutes:
        text += (
            f" That is longer than the {as_time(60 * minutes)} asked for, with the fewest steps to "
            "learn from and the smallest clips of those chosen; epochs=N and crop_size=N set fewer."
        )
    return f"{text}  [--minutes={minutes:g}]"


def _training_videos(prepared: preparation.Prepared, request: Request) -> VideoSet:
    """The videos, or small copies of them, which are written unless they are there."""
    if not prepared.choice.copies:
        return prepared.videos
    root = os.path.join(request.run_dir, _RECORDS)
    print("Writing small copies of the videos", flush=True)
    form = RecordFormat(short_sides=(copy_side(prepared.choice.crop_size),))
    prepare(
        prepared.videos, root=root, form=form, workers=request.workers, progress=Progress("video")
    )
    return recorded_videos(root)


def _plan(settings: Settings) -> str:
    optimization = settings.optimization
    return format_plan(make_plan(optimization.learning_rate(optimization.schedule)))
