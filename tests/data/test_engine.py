from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from muybridge.core.errors import Interrupted, MuybridgeError
from muybridge.data.engine import Stage, run

Record = dict[str, Any]
HERE = Path(__file__).parent
MIB = 2**20


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.syspath_prepend(str(HERE))
    return Stage(
        function="engine_functions:act", settings={"log": str(tmp_path / "log")}, version=1,
        deadline=20.0, deadline_per_mib=0.0, memory_gib=1.0, store=tmp_path / "store",
    )  # fmt: skip


def done(stage: Stage) -> list[str]:
    """The numbers of the items that were begun, in order."""
    log = Path(stage.settings["log"])
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def content(folder: Path) -> dict[str, bytes]:
    """All files below, by their names."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def gone(process: int) -> bool:
    """Whether a process has ended: none of that number, or one that nobody waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def soon(true: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def square(number: int, **more: Any) -> Record:
    return {"act": "square", "number": number, **more}


# --- one item ------------------------------------------------------------------------------------


def test_results_and_files_are_kept_under_the_key(stage: Stage) -> None:
    record = square(7, name="a")
    made = stage(record)
    key = stage.key(record)
    assert made == [
        {"name": "a", "square": 49, "key": key},
        {"more": [7, None, 0.5], "key": key},
    ]
    kept = content(stage.store)
    assert sorted(kept) == [f"{key}/{name}" for name in ("first.txt", "records.json", "second.txt")]
    assert json.loads(kept[f"{key}/records.json"])[0] == {"name": "a", "square": 49}
    assert kept[f"{key}/second.txt"] == b"49"


def test_nothing_is_done_twice_not_even_when_it_gave_nothing(stage: Stage) -> None:
    for record in (square(1), {"act": "nothing", "number": 2}):
        first = stage(record)
        assert stage(record) == first
        assert list(run(stage, [record])) == [first]
    assert done(stage) == ["1", "2"]


def test_the_key_is_of_content_and_parameters_not_of_the_place(stage: Stage) -> None:
    record = {"digest": "d", "path": "x/a.mp4", "bytes": 5, "name": "a.mp4", "number": 1}
    key = stage.key(record)
    assert stage.key({**record, "path": "y/b.mp4", "bytes": 6, "name": "b.mp4"}) == key
    assert stage.key(dict(reversed(record.items()))) == key
    others = [
        dataclasses.replace(stage, function="a:b").key(record),
        dataclasses.replace(stage, settings={"fps": 24}).key(record),
        dataclasses.replace(stage, version=2).key(record),
        stage.key({**record, "digest": "e"}),
        stage.key({**record, "number": 2}),
        # Without a digest the name is all that tells one from another.
        stage.key({"name": "a.mp4"}),
        stage.key({"name": "b.mp4"}),
    ]
    assert len({key, *others}) == 1 + len(others)
    for change in ({"deadline": 1.0}, {"memory_gib": 9.0}, {"store": Path("elsewhere")}):
        assert dataclasses.replace(stage, **change).key(record) == key  # type: ignore[arg-type]


def test_a_copy_under_another_name_is_read_and_named_so(stage: Stage) -> None:
    stage(square(3, digest="d", name="a.mp4", path="x/a.mp4"))
    again = stage(square(3, digest="d", name="b.mp4", path="y/b.mp4"))
    assert again[0]["name"] == "b.mp4" and again[0]["square"] == 9
    assert done(stage) == ["3"]


def test_a_damaged_result_is_made_again(stage: Stage) -> None:
    first = stage(square(3))
    (stage.store / first[0]["key"] / "records.json").write_text('[{"square"')
    assert stage(square(3)) == first
    assert done(stage) == ["3", "3"]


def test_odd_names_come_through(stage: Stage) -> None:
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x90\x8e\n.mp4")
    assert stage(square(2, name=name, path=Path("x") / name))[0]["name"] == name


def test_a_stage_can_be_pickled(stage: Stage) -> None:
    again = pickle.loads(pickle.dumps(stage))
    assert again == stage and again(square(2)) == stage(square(2))


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("segfault", "crashed: signal 11 (segmentation fault)"),
        ("leave", "crashed: the process ended with status 3"),
        ("leave_well", "crashed: the process ended with status 0"),
        ("abort", "crashed: signal 6 (aborted): free(): invalid pointer"),
        ("killed", "crashed: signal 9 (killed)"),
        ("close_all", "took too long: more than 2.5 s"),
        ("hang", "took too long: more than 2.5 s"),
        ("hang_in_c", "took too long: more than 2.5 s"),
        ("fail", "crashed: ValueError: no good at all (engine_functions.py line "),
        ("leave_politely", "crashed: SystemExit: bye (engine_functions.py line "),
        ("no_list", "crashed: TypeError: engine_functions:act gave dict, not a list of dicts"),
        ("no_dicts", "crashed: TypeError: engine_functions:act gave a list with int in it"),
        ("no_json", "crashed: TypeError: Object of type set is not JSON serializable"),
        ("no_number", "crashed: ValueError: Out of range float values are not JSON compliant"),
        ("no_room", "crashed: the disk is full: "),
        ("missing", "crashed: KeyError: 'missing' (engine_functions.py line "),
        ("bad_alloc", "out of memory: terminate called after throwing an instance of 'std::bad"),
    ],
)
def test_what_goes_wrong_costs_one_item_and_leaves_a_reason(
    stage: Stage, act: str, reason: str
) -> None:
    stage = dataclasses.replace(stage, deadline=2.5)
    record = {"act": act, "name": "a", "digest": act, "path": "p", "bytes": 1}
    before, [failed], after = stage(square(1)), stage(record), stage(square(2))
    assert failed.pop("reason").startswith(reason)
    assert failed == {"name": "a", "digest": act, "key": stage.key(record)}
    assert before[0]["square"] == 1 and after[0]["square"] == 4
    # It leaves nothing behind, and so is tried again.
    assert sorted(p.name for p in stage.store.iterdir()) == sorted(
        (before[0]["key"], after[0]["key"])
    )


def test_a_stage_raises_for_no_record_and_no_function(stage: Stage) -> None:
    for record in (None, 3, {"act": {1}}, {"act": "square"}, {1: 2, "a": 3}, {"bytes": "many"}):
        [failed] = stage(record)  # type: ignore[arg-type]
        assert failed["reason"].startswith("crashed: ")
    for function in ("engine_functions:missing", "no_module:act", "engine_functions", ""):
        [failed] = dataclasses.replace(stage, function=function)(square(1))
        assert failed["reason"].startswith("crashed: ")
    blocked = dataclasses.replace(stage, store=HERE / "test_engine.py" / "store")
    assert "crashed: " in blocked(square(1))[0]["reason"]


def test_memory_is_bounded_and_what_fits_is_given(stage: Stage) -> None:
    small = {"act": "swallow", "bytes_wanted": 200 * MIB}
    large = {"act": "swallow", "bytes_wanted": 2000 * MIB}
    assert stage(large)[0]["reason"] == "out of memory: more than 1 GiB"
    assert stage(small)[0]["size"] == 200 * MIB
    assert dataclasses.replace(stage, memory_gib=4.0)(large)[0]["size"] == 2000 * MIB


def test_what_earlier_items_leaked_is_not_held_against_a_later_one(stage: Stage) -> None:
    made = [stage({"act": "leak", "bytes_wanted": 600 * MIB, "number": n}) for n in range(3)]
    assert [records[0].get("held") for records in made] == [1, 1, 1]


def test_a_crash_that_an_earlier_item_may_have_caused_is_tried_in_a_new_child(
    stage: Stage, tmp_path: Path
) -> None:
    stage(square(1))
    [record] = stage({"act": "crash_once", "note": str(tmp_path / "note")})
    assert record["well"]
    assert [path.name for path in (stage.store / record["key"]).iterdir()] == ["records.json"]


def test_noise_is_no_answer_and_blocks_nobody(stage: Stage) -> None:
    [record] = stage({"act": "noisy"})
    assert record == {"read": "", "honest": True, "key": record["key"]}


def test_records_may_be_larger_than_a_pipe(stage: Stage) -> None:
    [record] = stage({"act": "big", "text": "é" * MIB})
    assert record["text"] == "é" * 2 * MIB


def test_the_deadline_grows_with_the_file(stage: Stage) -> None:
    stage = dataclasses.replace(stage, deadline=1.0, deadline_per_mib=2.0)
    assert stage.seconds({}) == 1.0
    assert stage.seconds({"bytes": 3 * MIB}) == 7.0
    begun = time.monotonic()
    assert stage({"act": "hang", "bytes": MIB // 2})[0]["reason"] == "took too long: more than 2 s"
    assert 2.0 <= time.monotonic() - begun < 10.0


def test_a_hang_takes_what_it_started_with_it(stage: Stage, tmp_path: Path) -> None:
    note = tmp_path / "note"
    stage = dataclasses.replace(stage, deadline=3.0)
    assert "took too long" in stage({"act": "hang_deaf", "note": str(note)})[0]["reason"]
    processes = [int(number) for number in note.read_text().split()]
    assert len(processes) == 2
    assert soon(lambda: all(gone(process) for process in processes))


def test_a_crash_is_seen_though_a_fork_holds_the_pipes(stage: Stage, tmp_path: Path) -> None:
    stage = dataclasses.replace(stage, deadline=1000.0)
    begun, note = time.monotonic(), tmp_path / "note"
    [failed] = stage({"act": "orphan", "note": str(note)})
    assert failed["reason"] == "crashed: signal 11 (segmentation fault)"
    assert time.monotonic() - begun < 20
    assert soon(lambda: gone(int(note.read_text())))


def test_one_child_serves_many_items_alone_in_its_group(stage: Stage) -> None:
    made = [stage({"act": "where", "number": n})[0] for n in range(5)]
    assert len({record["process"] for record in made}) == 1
    assert made[0]["process"] == made[0]["group"] != os.getpgrp()
    assert made[0]["variables"] == ["1", "1"] and not made[0]["torch"]
    assert stage({"act": "threads_of_cv2"})[0]["threads"] == 1


def test_the_child_follows_the_working_folder_and_the_path(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage({"act": "where", "number": 1})
    (tmp_path / "of_a_user.py").write_text("def f(record, settings, folder):\n    return [{}]\n")
    (tmp_path / "json.py").write_text("raise RuntimeError('not me')\n")
    own = dataclasses.replace(stage, function="of_a_user:f")
    monkeypatch.chdir(tmp_path)
    assert stage({"act": "where", "number": 2})[0]["folder"] == str(tmp_path)
    assert "No module named 'of_a_user'" in own({})[0]["reason"]
    (tmp_path / "json.py").unlink()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "reason" not in own({})[0]


def test_the_engine_loads_nothing_heavy(environment: Mapping[str, str]) -> None:
    script = (
        "import sys, muybridge.data.engine\n"
        "print([n for n in ('torch', 'numpy', 'cv2', 'av', 'ray') if n in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"


# --- many items ----------------------------------------------------------------------------------


def mixed() -> list[Record]:
    """Good and bad items, some twice, of which some lie elsewhere."""
    acts = ["square", "segfault", "square", "fail", "square", "nothing", "leave", "square"]
    records = [{"act": act, "number": n, "name": str(n)} for n, act in enumerate(acts * 2)]
    copies = [
        square(4, digest="d", name="one", path="x"), square(4, digest="d", name="two", path="y"),
        {**records[1], "path": "z"}, {**records[2], "path": "z"},
    ]  # fmt: skip
    return [*records, *copies]


def test_results_come_in_order_whatever_fails_between(stage: Stage) -> None:
    records = mixed()
    made = list(run(stage, records, workers=3))
    assert [results[0]["key"] for results in made if results] == [
        stage.key(record) for record in records if record["act"] != "nothing"
    ]
    for record, results in zip(records, made, strict=True):
        if record["act"] == "square":
            assert results[0]["square"] == record["number"] ** 2
            assert results[0]["name"] == record["name"]
        elif record["act"] == "nothing":
            assert results == []
        else:
            assert results[0]["reason"].startswith("crashed: ")
    # Crashes are tried once more where the child was not fresh; the rest once.
    counts = {n: done(stage).count(n) for n in done(stage)}
    finished = {str(r["number"]) for r in records if r["act"] in ("square", "nothing")}
    assert all(counts[n] == 1 for n in finished - {"4"})
    assert counts["4"] == 2  # two keys: with a digest and without
    assert max(counts.values()) <= 2


def test_equal_items_are_done_once_also_at_the_same_time(stage: Stage) -> None:
    stage = dataclasses.replace(stage, settings={**stage.settings, "pause": 0.3})
    made = list(run(stage, [square(5, path=str(n)) for n in range(6)], workers=3))
    with ThreadPoolExecutor(4) as pool:
        made += pool.map(stage, [square(6, path=str(n)) for n in range(4)])
    assert [results[0]["square"] for results in made] == [25] * 6 + [36] * 4
    assert sorted(done(stage)) == ["5", "6"]


def test_only_a_few_records_are_taken_ahead(stage: Stage) -> None:
    taken = itertools.count()
    endless = (square(n) for n in taken)
    results = run(stage, endless, workers=2)
    for n in range(40):
        assert next(results)[0]["square"] == n**2
    assert next(taken) <= 40 + 2 * 16 + 1
    results.close()  # type: ignore[attr-defined]


def test_a_slow_item_does_not_stop_the_others(stage: Stage) -> None:
    stage = dataclasses.replace(stage, deadline=3.0)
    records = [{"act": "hang", "number": -1}, *(square(n) for n in range(10))]
    begun = time.monotonic()
    made = list(run(stage, records, workers=2))
    assert "took too long" in made[0][0]["reason"]
    assert [results[0]["square"] for results in made[1:]] == [n**2 for n in range(10)]
    assert time.monotonic() - begun < 12


def children(stage: Stage, count: int) -> list[int]:
    """The processes that work on the stage's items, once there are so many."""
    log = Path(stage.settings["log"])
    assert soon(lambda: log.exists() and len(log.read_text().splitlines()) >= count)
    return [int(line.split()[1]) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted])
def test_an_interrupt_leaves_promptly_and_ends_the_children(
    stage: Stage, error: type[BaseException]
) -> None:
    def records() -> Iterator[Record]:
        yield {"act": "hang", "number": 0}
        yield {"act": "hang_in_c", "number": 1}
        children(stage, 2)
        raise error("stop")

    stage = dataclasses.replace(stage, deadline=1000.0)
    begun, threads = time.monotonic(), threading.active_count()
    with pytest.raises(error):
        list(run(stage, records(), workers=2))
    assert time.monotonic() - begun < 15
    assert all(gone(process) for process in children(stage, 2))
    assert content(stage.store) == {} and list(stage.store.iterdir()) == []
    assert threading.active_count() == threads


def test_leaving_the_loop_ends_the_children(stage: Stage) -> None:
    stage = dataclasses.replace(stage, deadline=1000.0)
    for _ in run(stage, [square(1), {"act": "hang", "number": 2}], workers=2):
        workers = children(stage, 2)
        break
    assert soon(lambda: all(gone(process) for process in workers))


def test_a_full_disk_stops_the_run_and_says_so(stage: Stage) -> None:
    with pytest.raises(MuybridgeError, match="the disk is full"):
        list(run(stage, [square(1), {"act": "no_room"}, square(2)], workers=1))


def test_an_unknown_engine_is_refused_at_once(stage: Stage) -> None:
    with pytest.raises(MuybridgeError, match=r"(?s)'spark'.*local, ray"):
        run(stage, [], engine="spark")


def test_without_ray_the_way_to_it_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MuybridgeError, match=r"(?s)needs Ray.*pip install 'muybridge\[ray\]'"):
        run(stage, [], engine="ray")


# --- the parent dies -----------------------------------------------------------------------------

# As a user would write it: with no guard around the main part.
SCRIPT = """
import json, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from muybridge.data.engine import Stage, run
work = json.loads(sys.argv[1])
stage = Stage(**{**work["stage"], "store": Path(work["stage"]["store"])})
results = run(stage, work["records"], engine=work["engine"], workers=2)
for result in results:
    print(json.dumps(result), flush=True)
    if result and result[0].get("square") == work["stop"]:
        raise RuntimeError("the script fails")
"""


def start(
    stage: Stage,
    records: list[Record],
    environment: Mapping[str, str],
    engine: str = "local",
    stop: int = -1,
) -> subprocess.Popen[str]:
    plain = {**dataclasses.asdict(stage), "store": str(stage.store)}
    work = json.dumps({"stage": plain, "records": records, "engine": engine, "stop": stop})
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, work], env=environment, stdout=subprocess.PIPE, text=True
    )


def environment_here(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "PYTHONPATH": os.pathsep.join([str(HERE), environment["PYTHONPATH"]])}


def test_killed_at_random_moments_the_same_call_gives_the_same_store(
    stage: Stage, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    chance = random.Random(0)
    stage = dataclasses.replace(stage, settings={**stage.settings, "pause": 0.02})
    records = [square(n, name=str(n)) for n in range(30)]
    here = environment_here(environment)
    for _ in range(6):
        finished = {n for n in range(30) if (stage.store / stage.key(records[n])).exists()}
        before = len(done(stage))
        process = start(stage, records, here)
        # Late enough that something was done, so that every moment of an item is hit in time.
        soon(lambda: len(done(stage)) > before or process.poll() is not None)  # noqa: B023
        time.sleep(chance.random() * 0.15)
        process.kill()
        process.communicate()
        assert not finished & {int(n) for n in done(stage)[before:]}
        assert all(
            (folder / "records.json").exists()
            for folder in stage.store.iterdir()
            if not folder.name.startswith(".")
        )
    said, _ = start(stage, records, here).communicate()
    assert [json.loads(line)[0]["square"] for line in said.splitlines()] == [
        n**2 for n in range(30)
    ]
    whole = dataclasses.replace(stage, store=tmp_path / "whole")
    list(run(whole, records))
    assert content(stage.store) == content(whole.store)
    assert not list(stage.store.glob(".*"))


@pytest.mark.parametrize("act", ["hang", "hang_in_c"])
def test_children_end_with_their_parent_also_while_they_hang(
    stage: Stage, environment: Mapping[str, str], act: str
) -> None:
    stage = dataclasses.replace(stage, deadline=1000.0)
    records = [{"act": act, "number": n} for n in range(2)]
    process = start(stage, records, environment_here(environment))
    busy = children(stage, 2)
    assert not any(gone(child) for child in busy)
    process.kill()
    process.communicate()
    assert soon(lambda: all(gone(child) for child in busy), 5)


def test_children_that_wait_end_with_their_parent(
    stage: Stage, environment: Mapping[str, str]
) -> None:
    stage = dataclasses.replace(stage, deadline=1000.0)
    records = [square(1), {"act": "hang", "number": 2}]
    process = start(stage, records, environment_here(environment))
    workers = children(stage, 2)
    assert process.stdout is not None and json.loads(process.stdout.readline())[0]["square"] == 1
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert soon(lambda: all(gone(child) for child in workers), 5)


def test_ctrl_c_ends_a_script_at_once(stage: Stage, environment: Mapping[str, str]) -> None:
    stage = dataclasses.replace(stage, deadline=1000.0)
    records = [{"act": "hang_in_c", "number": n} for n in range(4)]
    process = start(stage, records, environment_here(environment))
    busy = children(stage, 2)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    process.communicate(timeout=30)
    assert time.monotonic() - begun < 10
    assert process.returncode == -signal.SIGINT
    assert all(gone(child) for child in busy)
    assert list(stage.store.iterdir()) == []


def test_a_script_that_fails_between_two_results_ends(
    stage: Stage, environment: Mapping[str, str]
) -> None:
    stage = dataclasses.replace(stage, deadline=1000.0)
    records = [square(1), *({"act": "hang_in_c", "number": n} for n in range(4))]
    process = start(stage, records, environment_here(environment), stop=1)
    process.communicate(timeout=30)
    assert process.returncode == 1
    busy = children(stage, 1)
    assert soon(lambda: all(gone(child) for child in busy), 5)


def test_the_next_start_sweeps_what_a_killed_process_left(stage: Stage) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    half = stage.store / f".{stage.key(square(1))}.{ended.pid}.tmp"
    half.mkdir(parents=True)
    (half / "first.txt").write_text("1")
    assert stage(square(2))[0]["square"] == 4
    assert not half.exists()


# --- on Ray --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ray_gives_what_the_local_engine_gives(
    stage: Stage, tmp_path: Path, environment: Mapping[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    records = mixed()
    local = dataclasses.replace(stage, store=tmp_path / "local")
    far = dataclasses.replace(stage, store=tmp_path / "far")
    expected = list(run(local, records, workers=2))
    said, _ = start(far, records, environment_here(environment), "ray").communicate()
    assert [json.loads(line) for line in said.splitlines()] == expected
    assert content(far.store) == content(local.store)
    # Once more, here: what is done is read, Ray is quiet, and a full disk stops it.
    before = done(stage).count("0")
    capfd.readouterr()
    results = run(far, [*records, {"act": "no_room"}], engine="ray", workers=2)
    assert list(itertools.islice(results, len(records))) == expected
    with pytest.raises(MuybridgeError, match="the disk is full"):
        next(results)
    assert done(stage).count("0") == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_children_on_ray_end_with_their_parent(
    stage: Stage, environment: Mapping[str, str]
) -> None:
    pytest.importorskip("ray")
    stage = dataclasses.replace(stage, deadline=1000.0)
    records = [{"act": "hang_in_c", "number": n} for n in range(2)]
    process = start(stage, records, environment_here(environment), "ray")
    assert soon(lambda: len(done(stage)) >= 2, 120)
    busy = children(stage, 2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert soon(lambda: all(gone(child) for child in busy), 60)
