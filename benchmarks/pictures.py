"""Make the pictures of README and docs anew.

    make pictures
    .venv/bin/python benchmarks/pictures.py --only=schedule,tensorboard

Some show a run: the quickstart's in runs/quickstart and a fine-tuning in runs/finetuned, which are
trained first if they are not there. Those of benchmarks that take hours are copied from their
results, if these are there: see the commands beside the pictures.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BROWSER = ROOT / ".venv-pictures" / "bin" / "python"
COLOURS = 128
# File in docs/ to that of a benchmark's results.
RESULTS = {
    "time_to_accuracy.png": "results/time_to_accuracy.png",
    "weizmann.png": "results/weizmann/time_to_accuracy.png",
    "frontier.png": "results/frontier.png",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="names, by commas: " + ", ".join(PICTURES))
    names = parser.parse_args().only
    for name in names.split(",") if names else PICTURES:
        print(f"{name} ...", flush=True)
        PICTURES[name](DOCS / f"{name}.png")
    if not names:
        for name, result in RESULTS.items():
            if (ROOT / result).exists():
                shutil.copy(ROOT / result, DOCS / name)
            else:
                print(f"docs/{name} stays as it is: there is no {result}.")


def schedule(path: pathlib.Path) -> None:
    run_command("plan", "--gin_file=i3d_kinetics", f"--png={path}")


def clips(path: pathlib.Path) -> None:
    """Of the first three of eight grids, which validation clips follow."""
    run_command("browse", "--gin_file=quickstart", "--clips=2", f"--out={path}")
    sheet = Image.open(path).convert("RGB")
    save(sheet.crop((0, 0, sheet.width, sheet.height // 3)), path)


def augmentation(path: pathlib.Path) -> None:
    script = ROOT / "benchmarks" / "augmentation_pictures.py"
    run(sys.executable, script, "--videos=data/motion_small", f"--out={path}")


def tensorboard(path: pathlib.Path) -> None:
    """Its pages, one below the other."""
    train_quickstart()
    tabs = {
        "?tagFilter=^multigrid#timeseries": 900,
        "#images&tagFilter=schedule%7Cthroughput": 840,
    }
    with tensorboard_of("quickstart") as address:
        pages = [screenshot(f"{address}/{tab}", 1300, height, 12) for tab, height in tabs.items()]
    whole = Image.new("RGB", (pages[0].width, sum(page.height for page in pages)))
    top = 0
    for page in pages:
        whole.paste(page, (0, top))
        top += page.height
    save(whole, path)


def report(path: pathlib.Path) -> None:
    """The upper part of the page of a fine-tuning."""
    train_quickstart()
    out = ROOT / "runs" / "finetuned"
    if not (out / "report.html").exists():
        videos = ROOT / "data" / "motion" / "train"
        run_command("finetune", str(videos), f"--out={out}", "--minutes=5")
    save(screenshot(str(out / "report.html"), 1000, 1250, 3), path)


def train_quickstart() -> None:
    if not (ROOT / "runs" / "quickstart" / "report.json").exists():
        run_command("train", "--gin_file=quickstart")


@contextlib.contextmanager
def tensorboard_of(name: str):
    """The address of a TensorBoard that shows a run of runs/."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = pathlib.Path(sys.executable).with_name("tensorboard")
    arguments = ["--logdir=.", f"--port={port}", "--load_fast=false"]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT / "runs" / name, os.path.join(folder, name))
        command = [program, *arguments]
        with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as process:
            try:
                for _ in range(120):
                    with contextlib.suppress(OSError):
                        urllib.request.urlopen(address).close()
                        break
                    time.sleep(0.5)
                yield address
            finally:
                process.terminate()


def screenshot(page: str, width: int, height: int, seconds: float) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        picture = os.path.join(folder, "page.png")
        script = ROOT / "benchmarks" / "screenshot.py"
        size, wait = f"--size={width}x{height}", f"--seconds={seconds}"
        run(BROWSER, script, page, picture, size, wait)
        return Image.open(picture).convert("RGB")


def save(picture: Image.Image, path: pathlib.Path) -> None:
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def run_command(*arguments: str) -> None:
    run(sys.executable, "-m", "keras_multigrid", *arguments)


def run(*command: str | os.PathLike) -> None:
    subprocess.run([*map(str, command)], cwd=ROOT, check=True)


PICTURES = {
    "schedule": schedule,
    "clips": clips,
    "augmentation": augmentation,
    "tensorboard": tensorboard,
    "report": report,
}

if __name__ == "__main__":
    main()
