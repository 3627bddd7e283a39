"""The report of a finished training: test, hardest clips, page."""

import dataclasses
import os
import shlex

import keras
import tensorflow as tf

from keras_multigrid import files
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.class_balance import class_counts
from keras_multigrid.data.clips.views import Views
from keras_multigrid.progress import as_time
from keras_multigrid.runs import run_folder
from keras_multigrid.runs.evaluation import ScoredVideos, score_validation
from keras_multigrid.runs.finetuning.preparation import Prepared
from keras_multigrid.runs.hardest_clips import hardest_clips
from keras_multigrid.runs.html_report import ReportPage, to_html
from keras_multigrid.runs.report import Report
from keras_multigrid.runs.settings import MultiViewTest, Settings

PAGE = "report.html"
# Along time; the page says how many.
_VIEWS = Views(clips=5, crops=1)


def write_page(prepared: Prepared, settings: Settings, report: Report, plan: str) -> ReportPage:
    """Test the network of a finished run, and write its page into its folder.

    Args:
        prepared: what it began with.
        settings: of the run.
        report: of the run.
        plan: in words.

    Returns:
        The page, also written as `report.html`.
    """
    schedule = settings.optimization.schedule
    test = MultiViewTest(
        run_dir=settings.run_dir,
        grid=schedule.base,
        weights=os.path.join(settings.run_dir, run_folder.MODEL),
        views=_VIEWS,
    )
    scored = score_validation(
        data=settings.data, model=settings.model, test=test, hardware=settings.hardware
    )
    source = settings.data.source(BadVideos(max_share=1.0))
    hardest = hardest_clips(
        scored.network, source, schedule.base, records=scored.records, scores=scored.scores
    )
    page = ReportPage(
        title=f"{prepared.choice.model} on {settings.data.videos.num_classes} classes",
        facts=_facts(prepared, settings, report, scored),
        curve=report.curve,
        metric=settings.data.videos.task.result,
        phases=[
            (phase.first_step, name)
            for phase, name in zip(schedule.phases, schedule.phase_names, strict=True)
        ],
        total_steps=schedule.total_steps,
        hardest=hardest,
        settings=[dataclasses.astuple(reason) for reason in prepared.reasons],
        commands={
            "Say what it sees in other videos:": predict_line(settings.run_dir),
            "Test it on new videos, in class folders:": _line("evaluate", settings, "new_videos/"),
            "Write it for other programs:": _line("export", settings, "--out=mine.onnx"),
            "Look at all curves:": f"tensorboard --logdir {shlex.quote(settings.run_dir)}",
        },
        details={
            "Videos and machine": "\n".join(prepared.facts),
            "Plan": plan,
            "Training": str(report),
            "Versions": f"TensorFlow {tf.__version__}, Keras {keras.__version__} "
            f"({keras.backend.backend()})",
        },
        **_results(settings, scored, test),
    )
    files.write(os.path.join(settings.run_dir, PAGE), to_html(page))
    return page


def _line(command: str, settings: Settings, rest: str) -> str:
    return f"keras-multigrid {command} --run={shlex.quote(settings.run_dir)} {rest}"


def predict_line(run_dir: str) -> str:
    """The command that predicts with a run."""
    return f"keras-multigrid predict --run={shlex.quote(run_dir)} my_video.mp4"


def _results(settings: Settings, scored: ScoredVideos, test: MultiViewTest) -> dict:
    videos, records = settings.data.videos, scored.records
    counts = class_counts(records, videos.num_classes)
    return {
        "result": f"top-1, mean of {_VIEWS.clips} clips of each, of {test.view_size}²",
        "value": scored.evaluation.metrics["top1"],
        "count": scored.evaluation.num_videos,
        "chance": float(counts.max() / len(records)),
        "class_names": videos.class_names,
        "per_class": scored.evaluation.per_class,
        "confusion": videos.task.confusion(scored.scores, [record.label for record in records]),
    }


def _facts(
    prepared: Prepared, settings: Settings, report: Report, scored: ScoredVideos
) -> list[str]:
    choice, schedule = prepared.choice, settings.optimization.schedule
    begun = "from scratch" if choice.initial_weights is None else f"from {choice.initial_weights}"
    minutes = as_time(report.curve[-1]["seconds"]) if report.curve else as_time(report.seconds)
    result = settings.data.videos.task.result
    facts = [
        f"{len(settings.data.videos.train):,} training videos. {prepared.reasons[0].value}. "
        f"{prepared.reasons[0].why[:1].upper()}{prepared.reasons[0].why[1:]}.",
        f"{choice.model} {begun}, {report.steps:,} steps in {minutes} of training.",
        f"One clip in the middle of each video, {schedule.base.num_frames} frames of "
        f"{schedule.base.crop_size}²: {result} {report.metrics.get(result, 0):.2f}.",
        "The last weights were tested, not those of the best validation.",
    ]
    bad = len(scored.evaluation.bad_videos)
    return [*facts, f"{bad} validation videos could not be read."] if bad else facts
