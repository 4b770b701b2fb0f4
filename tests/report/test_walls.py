"""Videos of a wall keep in step: the page's own script, with videos of which the time is told."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from muybridge.report import write_report

# Videos that run when `run` is called, and as much of a page as the script asks for.
BROWSER = """
class Video {
  constructor(duration) { Object.assign(this, { duration, at: 0, paused: true, playbackRate: 1 }); }
  get ended() { return this.at >= this.duration; }
  get currentTime() { return this.at; }
  set currentTime(at) { this.at = at; this.sought = (this.sought ?? 0) + 1; this.heard?.(); }
  addEventListener(name, heard) { this.heard = heard; }
  play() { this.paused = false; return Promise.resolve(); }
  pause() { this.paused = true; }
}
const videos = [new Video(2), new Video(1), new Video(2)];
const parts = {};
const named = ["play", "back", "on"].map(name => `[data-do=${name}]`);
for (const name of [...named, "input", "output", "select"])
  parts[name] = { max: 0, value: 0 };
const bar = { hidden: true, querySelector: name => parts[name] };
const section = {
  dataset: { rate: "10" }, querySelector: () => bar, querySelectorAll: () => videos,
};
let turn = null, see = null;
const heard = {};
const document = {
  hidden: false,
  querySelectorAll: what => (what === "[data-rate]" ? [section] : []),
  addEventListener: (name, does) => { heard[name] = does; },
};
const matchMedia = () => ({ matches: STILL });
class IntersectionObserver { constructor(does) { see = does; } observe() {} }
const requestAnimationFrame = does => { turn = does; };
const seen = isIntersecting => see([{ target: section, isIntersecting }]);
const times = () => videos.map(v => Math.round(1000 * v.at) / 1000);
const said = {};
async function run(seconds) {
  for (let i = 0; i < Math.round(seconds * 20); i++) {
    for (const v of videos) if (!v.paused) {
      v.at = Math.min(v.duration, v.at + v.playbackRate / 20);
      if (v.ended) v.paused = true;
    }
    turn();
    await new Promise(done => setImmediate(done));
  }
}
"""


def play(tmp_path: Path, judged: Any, story: str, still: bool = False) -> dict[str, Any]:
    """What `story` puts into `said`, after the page's script was loaded."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node, which runs the page's script, is not installed")
    source = write_report([judged(tmp_path / "a")]).read_text()
    script = re.search(r"<script>(.*?)</script>", source, re.DOTALL)
    assert script
    text = f"{BROWSER.replace('STILL', str(still).lower())}\n{script[1]}\n"
    end = "console.log(JSON.stringify(said)); process.exit(0);"
    (tmp_path / "page.mjs").write_text(f"{text}{story}\n{end}")
    made = subprocess.run([node, tmp_path / "page.mjs"], capture_output=True, text=True, check=True)
    return dict(json.loads(made.stdout))


def test_all_begin_again_together_when_the_longest_has_ended(tmp_path: Path, judged: Any) -> None:
    said = play(tmp_path, judged, """
        seen(true); await run(1.5); said.before = times();
        await run(0.55); said.end = times();
        await run(0.7); said.after = times();
    """)  # fmt: skip
    assert said["before"] == [1.5, 1.0, 1.5]  # the shorter one waits at its end
    first, short, third = said["after"]
    assert first == short == third and 0 < first < 1


def test_a_video_that_falls_behind_is_put_right(tmp_path: Path, judged: Any) -> None:
    said = play(tmp_path, judged, """
        seen(true); await run(0.5);
        videos[2].at = 0.1; await run(0.1); said.late = times(); said.sought = videos[0].sought;
    """)  # fmt: skip
    assert said["late"][2] == pytest.approx(said["late"][0], abs=0.051)
    assert said.get("sought") is None  # who leads is not moved


def test_nothing_plays_that_is_not_seen(tmp_path: Path, judged: Any) -> None:
    said = play(tmp_path, judged, """
        const going = () => videos.filter(v => !v.paused).length;
        said.unseen = going(); seen(true); said.seen = going();
        document.hidden = true; heard.visibilitychange(); said.hidden = going();
        document.hidden = false; heard.visibilitychange(); said.back = going();
        seen(false); said.away = going();
    """)  # fmt: skip
    assert said == {"unseen": 0, "seen": 3, "hidden": 0, "back": 3, "away": 0}


def test_frames_are_gone_through_one_by_one_and_round(tmp_path: Path, judged: Any) -> None:
    said = play(tmp_path, judged, """
        seen(true); parts.input.value = "7"; parts.input.oninput(); said.slid = times();
        parts["[data-do=on]"].onclick(); said.on = times(); said.words = parts.output.textContent;
        parts.input.value = "0"; parts.input.oninput();
        parts["[data-do=back]"].onclick(); said.round = times(); said.max = parts.input.max;
        await run(0.5); said.waits = times(); said.button = parts["[data-do=play]"].textContent;
    """)  # fmt: skip
    # In the middle of a frame, so that rounding never shows its neighbour.
    assert said["slid"] == [0.75, 0.75, 0.75] and said["on"] == [0.85, 0.85, 0.85]
    assert said["words"] == "frame 9 of 20" and said["max"] == 19
    assert said["round"] == [1.95, 0.975, 1.95] == said["waits"]
    assert said["button"] == "Play in step"


def test_who_wants_less_motion_starts_it_himself(tmp_path: Path, judged: Any) -> None:
    said = play(tmp_path, judged, """
        seen(true); await run(0.5); said.calm = times();
        parts["[data-do=play]"].onclick(); await run(0.5); said.played = times();
    """, still=True)  # fmt: skip
    assert said["calm"] == [0, 0, 0] and said["played"] == [0.5, 0.5, 0.5]
