"""The files around the code: they parse, and what they name exists."""

import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
YAML_FILES = sorted(
    [
        ROOT / ".pre-commit-config.yaml",
        ROOT / "CITATION.cff",
        *(ROOT / ".github").rglob("*.yml"),
    ]
)
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").glob("*.md")]
)


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def make_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):(?!=)", makefile, flags=re.MULTILINE))


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_is_whole(path):
    content = read(path)
    assert isinstance(content, dict)
    assert "\t" not in path.read_text(encoding="utf-8")


def values_of(matrix, name):
    """All values of a variable of a matrix."""
    return [*matrix.get(name, ()), *(row[name] for row in matrix.get("include", ()) if name in row)]


def commands_of(workflow):
    """The shell commands of all steps, with each value of the matrix in turn."""
    for job in workflow["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        for step in job["steps"]:
            texts = [step.get("run", "")]
            for name in re.findall(r"\$\{\{ matrix\.(\w+) \}\}", texts[0]):
                place = f"${{{{ matrix.{name} }}}}"
                texts = [text.replace(place, v) for text in texts for v in values_of(matrix, name)]
            yield from texts


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_what_there_is(path):
    workflow = read(path)
    # YAML reads the key `on` as true.
    assert set(workflow) >= {"name", True, "permissions", "jobs"}
    assert workflow["permissions"] == {"contents": "read"}
    commands = "\n".join(commands_of(workflow))
    assert "${{" not in commands
    assert set(re.findall(r"\bmake ([a-z-]+)", commands)) <= make_targets()
    for name in re.findall(r"[\w-]+\.txt\b", commands):
        assert (ROOT / name).is_file(), name
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120


def test_workflows_test_both_lanes_of_tensorflow_on_both_versions_of_python():
    (job,) = read(ROOT / ".github" / "workflows" / "tests.yml")["jobs"].values()
    matrix = job["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12"]
    assert {"test", "test-slow", "test-latest", "test-backends", "test-beam"} == set(
        values_of(matrix, "target")
    )


def test_targets_of_make_in_the_documents_exist():
    named = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named |= set(re.findall(r"(?:^ *|`)make ([a-z][a-z-]*)", text, flags=re.MULTILINE))
    assert {"install", "quickstart", "test", "types"} <= named
    assert named <= make_targets()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        if re.match(r"https?://", link):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, link


def test_the_version_stands_in_one_place_and_in_the_changelog():
    code = "import keras_multigrid, sys; print(keras_multigrid.__version__, len(sys.modules))"
    code += "; assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    version = run.stdout.split()[0]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", changelog, flags=re.MULTILINE)
    assert titles[:2] == ["Unreleased", version]
    kinds = set(re.findall(r"^### (.+)$", changelog, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert version not in (ROOT / "setup.py").read_text(encoding="utf-8")
    assert version not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["ruff", "codespell"])
def test_hooks_are_pinned_alike(name):
    repos = read(ROOT / ".pre-commit-config.yaml")["repos"]
    (hooks,) = (repo for repo in repos if name in repo["repo"])
    pinned = re.search(rf"^{name}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert hooks["rev"] == f"v{pinned}"


def test_the_paper_is_cited():
    (paper,) = read(ROOT / "CITATION.cff")["references"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Wu", "Girshick", "He", "Feichtenhofer", "Krähenbühl"]
    assert paper["url"].endswith("/1912.00998")
    assert paper["year"] == 2020


def test_what_is_tested_together_is_pinned():
    """Each pin once, exactly, so that pip-audit takes the file as it is."""
    for name in ("constraints.txt", "constraints-backends.txt", "constraints-beam.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!]+", pin) for pin in pins), name
        assert len({pin.partition("==")[0].lower() for pin in pins}) == len(pins), name
