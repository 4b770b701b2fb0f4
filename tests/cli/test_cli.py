from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

VERBS = (
    "check", "compare", "evaluate", "export", "generate", "prepare", "quickstart", "recipes",
    "report", "stage", "train",
)  # fmt: skip

# Each case in a process of its own, forked from one in which torch has been imported already; the
# module is run as `python -m muybridge` runs it. It ends at once: torch takes a second to go.
CASES = """
import json, os, runpy, sys, traceback
import pandas, torch, muybridge.run
for index, arguments in enumerate(json.load(sys.stdin)):
    child = os.fork()
    if child == 0:
        for handle, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{sys.argv[1]}/{index}.{name}", os.O_CREAT | os.O_WRONLY), handle)
        sys.argv = ["muybridge", *arguments]
        status = 0
        try:
            runpy.run_module("muybridge", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def muybridge(
    *arguments: str, environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "muybridge", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def plain(environment: Mapping[str, str]) -> Mapping[str, str]:
    """No terminal, and wide enough that no line is cut."""
    return {**environment, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def test_help_lists_every_verb(plain: Mapping[str, str], tmp_path: Path) -> None:
    done = muybridge("--help", environment=plain, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    commands = done.stdout.partition("Commands:")[2].splitlines()
    listed = {line.split()[0]: line.split()[1:] for line in commands if line.startswith("  ")}
    assert set(VERBS) <= listed.keys()
    assert all(listed.values()), "a verb has no help"
    files = Path(__file__).parents[2] / "src/muybridge/cli"
    if files.is_dir():
        shared = {"__init__", "main", "options"}
        assert {path.stem for path in files.glob("*.py")} - shared == listed.keys()


def test_no_verb_is_help(plain: Mapping[str, str], tmp_path: Path) -> None:
    done = muybridge(environment=plain, folder=tmp_path)
    assert "Commands:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_that_of_the_package(plain: Mapping[str, str], tmp_path: Path) -> None:
    import muybridge as package

    done = muybridge("--version", environment=plain, folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"muybridge {package.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["--help"], *([verb, "--help"] for verb in VERBS), ["--version"]]
)
def test_help_is_there_without_heavy_imports(
    plain: Mapping[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    code = """
import runpy, sys
try:
    runpy.run_module("muybridge", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "pandas", "pyarrow", "av", "cv2", "matplotlib", "tokenizers", "scipy"}
print(sorted(heavy & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=plain,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
    if arguments[0] in VERBS:
        usage, _, options = done.stdout.partition("Options:")
        assert f" {arguments[0]} " in usage
        told = [line.split() for line in options.splitlines() if line.startswith("  -")]
        assert all(len(words) > 1 for words in told), "an option has no help"
    assert list(tmp_path.iterdir()) == []


def test_a_public_name_is_imported_only_when_used(plain: Mapping[str, str], tmp_path: Path) -> None:
    code = """
import sys, muybridge
assert "torch" not in sys.modules and "av" not in sys.modules
assert sorted(muybridge.__all__) == list(muybridge.__all__) == dir(muybridge)
muybridge.MuybridgeError, muybridge.write_video
assert "torch" not in sys.modules
try:
    muybridge.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=plain, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


# What is asked, what the error says, and what the hint says.
ERRORS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "unknown recipe": (
        ["train", "flow-smal", "--data", "data", "--out", "run"],
        ["'flow-smal'"],
        ["flow-small"],
    ),
    "unknown recipe to show": (["recipes", "flow-nanno"], ["'flow-nanno'"], ["flow-nano"]),
    "a recipe like none": (["recipes", "zzz"], ["'zzz'"], ["flow-nano", "flow-small"]),
    "unknown setting": (
        ["train", "flow-nano", "--data", "data", "--out", "run", "--set", "training.bacth=3"],
        ["training.bacth is not a setting"],
        ["did you mean training.batch?"],
    ),
    "unknown setting of a part of a part": (
        ["train", "flow-nano", "--data", "data", "--out", "run", "--set", "model.text.lenght=3"],
        ["model.text.lenght is not a setting"],
        ["did you mean model.text.length?"],
    ),
    "unknown section": (
        ["train", "flow-nano", "--data", "data", "--out", "run", "--set", "trainning.batch=3"],
        ["trainning"],
        ["did you mean training?"],
    ),
    "wrong value": (
        ["train", "flow-nano", "--data", "data", "--out", "run", "--set", "training.batch=many"],
        ["training.batch = 'many'"],
        [],
    ),
    "a setting without a value": (
        ["train", "flow-nano", "--data", "data", "--out", "run", "--set", "training.batch"],
        ["'training.batch'"],
        ["--set section.key=value"],
    ),
    "no dataset": (
        ["train", "flow-nano", "--data", "nowhere", "--out", "run"],
        ["'nowhere'", "not a dataset"],
        ["muybridge prepare"],
    ),
    "not a dataset": (
        ["train", "flow-nano", "--data", "footage", "--out", "run"],
        ["'footage'", "not a dataset"],
        ["muybridge prepare"],
    ),
    "no dataset of a name with quotes": (
        ["train", "flow-nano", "--data", 'it\'s "mine"', "--out", "run"],
        ["mine", "not a dataset"],
        ["muybridge prepare"],
    ),
    "two budgets": (
        ["train", "flow-nano", "--data", "data", "--out", "run", "--steps", "3", "--minutes", "1"],
        ["--minutes", "--steps"],
        [],
    ),
    "a second budget by setting": (
        ["train", "flow-nano", "--data", "data", "--out", "run", "--set", "training.steps=3"],
        ["training.steps = 3", "training.minutes"],
        ["training.steps"],
    ),
    "no footage": (["prepare", "nowhere", "--out", "data"], ["'nowhere'"], []),
    "footage that is empty": (
        ["prepare", "empty", "--out", "data"],
        ["empty"],
        ["muybridge stage"],
    ),
    "footage that is broken": (
        ["prepare", "footage", "--out", "data"],
        ["footage", "broken.mp4"],
        [],
    ),
    "a file in the way of a dataset": (
        ["prepare", "footage", "--out", "notes.txt"],
        ["notes.txt"],
        [],
    ),
    "a file in the way of a folder": (
        ["stage", "--out", "notes.txt/stage", "--count", "1"],
        ["notes.txt/stage"],
        [],
    ),
    "a file in the way of a run": (
        ["train", "flow-nano", "--data", "nowhere", "--out", "notes.txt"],
        ["notes.txt"],
        [],
    ),
    "no labels": (
        ["prepare", "footage", "--out", "data", "--labels", "nowhere.csv"],
        ["nowhere.csv"],
        [],
    ),
    "a rate that no dataset can have": (
        ["prepare", "footage", "--out", "data", "--set", "prepare.fps=0"],
        ["prepare.fps"],
        [],
    ),
    "export: not a dataset": (
        ["export", "footage", "--out", "shards"],
        ["'footage'", "not a dataset"],
        ["muybridge prepare"],
    ),
    "generate: not a run": (
        ["generate", "footage", "--out", "samples"],
        ["footage is not a run"],
        ["muybridge train"],
    ),
    "evaluate: nothing there": (
        ["evaluate", "nowhere"],
        ["nowhere is neither a run nor a folder of videos"],
        ["muybridge train"],
    ),
    "evaluate: a folder against nothing": (["evaluate", "footage"], ["footage"], ["--real"]),
    "evaluate: no video that can be read": (
        ["evaluate", "footage", "--real", "footage"],
        ["footage", "broken.mp4"],
        ["videos"],
    ),
    "evaluate: an empty folder": (
        ["evaluate", "empty", "--real", "empty"],
        ["empty holds no video"],
        ["videos"],
    ),
    "evaluate: a measure unknown": (
        ["evaluate", "footage", "--real", "empty", "--metrics", "motion,apearance"],
        ["--metrics", "'apearance'"],
        ["appearance"],
    ),
    "evaluate: no such weights": (
        ["evaluate", "footage", "--real", "empty", "--weights", "nowhere.pt"],
        ["--weights nowhere.pt"],
        ["folder"],
    ),
    "evaluate: one sample": (
        ["evaluate", "footage", "--real", "empty", "--samples", "1"],
        ["--samples 1"],
        ["leave it out"],
    ),
    "evaluate: a size that is none": (
        ["evaluate", "footage", "--real", "empty", "--size", "64"],
        ["--size 64"],
        ["64x64"],
    ),
    "evaluate: no frame": (
        ["evaluate", "footage", "--real", "empty", "--frames", "0"],
        ["--frames 0"],
        ["--frames 16"],
    ),
    "evaluate: no rate": (
        ["evaluate", "footage", "--real", "empty", "--fps", "0"],
        ["--fps 0"],
        ["--fps 8"],
    ),
    "evaluate: a file in the way": (
        ["evaluate", "footage", "--real", "empty", "--out", "notes.txt/x"],
        ["notes.txt is a file"],
        ["folder"],
    ),
    "report: not a run": (["report", "footage"], ["footage"], ["muybridge train"]),
    "report: no folder": (["report", "nowhere"], ["nowhere"], []),
    "check: neither": (["check", "nowhere"], ["'nowhere'"], []),
    "a stage of odd size": (["stage", "--out", "stage", "--size", "63"], ["63"], ["64"]),
    "a motion unknown": (
        ["stage", "--out", "stage", "--motions", "bounce,spinn"],
        ["spinn"],
        ["spin"],
    ),
}


@pytest.fixture(scope="module")
def told(
    plain: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[int, str, str]]:
    """Exit status, stdout and stderr of each of these."""
    folder, said = tmp_path_factory.mktemp("errors"), tmp_path_factory.mktemp("said")
    (folder / "empty").mkdir()
    (folder / "footage").mkdir()
    (folder / "footage" / "broken.mp4").write_text("not a video")
    (folder / "notes.txt").write_text("kept")
    before = sorted(folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", CASES, str(said)],
        env=plain,
        cwd=folder,
        input=json.dumps([arguments for arguments, _, _ in ERRORS.values()]),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    codes = [int(line) for line in done.stdout.split()]
    # Footage that was read is kept for the next call, which may want it with other settings.
    left = [path for path in sorted(folder.rglob("*")) if "data.unfinished" not in str(path)]
    assert left == before, "an error left something behind"
    assert (folder / "notes.txt").read_text() == "kept"
    return {
        case: (codes[i], (said / f"{i}.out").read_text(), (said / f"{i}.err").read_text())
        for i, case in enumerate(ERRORS)
    }


@pytest.mark.parametrize("case", ERRORS)
def test_what_a_person_can_put_right_is_told_without_a_traceback(
    told: dict[str, tuple[int, str, str]], case: str
) -> None:
    status, out, err = told[case]
    assert "Traceback" not in err, err
    assert (status, out) == (1, "")
    error, hint = "", ""
    for line in err.splitlines():
        if line.startswith("error: "):
            error = line
        elif line.startswith("hint: "):
            hint = line
    _, in_error, in_hint = ERRORS[case]
    assert error and hint, err
    assert [part for part in in_error if part not in error] == []
    assert [part for part in in_hint if part not in hint] == []


def test_an_error_of_the_plain_command(plain: Mapping[str, str], tmp_path: Path) -> None:
    """As above, without the shared process."""
    done = muybridge("report", "nowhere", environment=plain, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: nowhere")
    assert "\nhint: " in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["trian"], ["train"], ["stage", "--out", "x", "--count", "many"]]
)
def test_wrong_usage_is_told_on_stderr(
    plain: Mapping[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    done = muybridge(*arguments, environment=plain, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage:" in done.stderr and "Traceback" not in done.stderr


def test_data_goes_to_stdout_and_news_to_stderr(plain: Mapping[str, str], tmp_path: Path) -> None:
    made = muybridge(
        "stage", "--out", "stage", "--count", "8", "--size", "32", "--fps", "8",
        environment=plain, folder=tmp_path,
    )  # fmt: skip
    assert (made.returncode, made.stdout) == (0, "")
    assert "muybridge prepare stage" in made.stderr
    changes = ["--set", "prepare.size=[32, 32]", "--set", "prepare.fps=8"]
    done = muybridge(
        "prepare", "stage", "--out", "data", "--json", *changes, environment=plain, folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts == json.loads((tmp_path / "data/dataset.json").read_text())
    assert (facts["files"], facts["size"], facts["fps"]) == (8, [32, 32], 8)


def test_a_reader_that_stops_reading_is_no_error(plain: Mapping[str, str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "muybridge", "recipes"],
            env=plain, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    finally:
        os.close(write)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
