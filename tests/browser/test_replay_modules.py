"""The replay's modules without a DOM: the time line, distinct frames and chunks, the clock, the loaded frames."""

import json

import pytest

pytestmark = pytest.mark.postgresql  # once is enough

# 60 frames a second, none stored from 100 to 399; a camera with a hole from 4 s to 5 s.
TIMELINE = """
const { Timeline, lastUpTo } = await import("/static/teleop/timeline.js");
const start = 1767600000;
const at = (index) => [index, start + index / 60];
const anchors = [at(0), at(50), at(99), at(400), at(600)];
const chunk = (id, from, to, film = {}) =>
  ({ id, camera_key: "front", start_timestamp: start + from, end_timestamp: start + to, preview: "original", ...film });
const chunks = [chunk(3, 5, 9), chunk(1, -1, 2), chunk(2, 2, 4)];
const timeline = new Timeline(anchors, [[at(99)[1], at(400)[1]]], chunks);
"""
CLOCK = """
const { Clock } = await import("/static/teleop/clock.js");
let now = 100;
const clock = new Clock(10, () => now);
const after = (seconds) => { now += seconds; clock.tick(); return clock.time; };
"""
FRAMES = (
    TIMELINE
    + """
const { Frames } = await import("/static/teleop/frames.js");
const { valuesOf } = await import("/static/teleop/jointvalues.js");
const stored = [...Array(100).keys(), ...Array.from({ length: 201 }, (_, n) => 400 + n)];
const asked = [];
const frames = new Frames(timeline, async (from, limit) => {
  asked.push(from);
  const found = stored.filter((index) => index >= from).slice(0, limit);
  return found.map((index) => ({ frame_index: index, timestamp: at(index)[1], observation: { a: { pos: index } } }));
});
"""
)
VIEW = """
const { View } = await import("/static/teleop/series.js");
const view = new View(100, 1);
const seen = () => [view.from, view.to];
"""


@pytest.fixture(scope="module")
def run(blank):
    return lambda setting, expression: blank.evaluate(f"async () => {{ {setting}; return {expression}; }}")


@pytest.mark.parametrize(
    "expression, expected",
    {
        "[0, 1, 98, 99, 400, 600].map((index) => timeline.indexAt(at(index)[1] - start))": [0, 1, 98, 99, 400, 600],
        "[-5, 0.02, 3, 1000].map((time) => timeline.indexAt(time))": [0, 1, 99, 600],  # in the gap: the frame before it
        "[0, 50, 600].map((index) => timeline.timeAt(index))": [0, 0.833333, 10],
        "timeline.duration": 10,
        "[1, 3, 7].map((time) => timeline.gapAt(time) !== null)": [False, True, False],
        "[0, 1.5, 2, 4.5, 5.25, 9].map((time) => timeline.chunkAt('front', time)?.id ?? null)": [
            *(1, 1, 2, None, 3, None)
        ],
        "[-2, 0, 4.5, 5].map((time) => timeline.nextChunk('front', time)?.id ?? null)": [1, 2, 3, None],
        "timeline.coverage('front')": [[0, 4, "original"], [5, 9, "original"]],
        "new Timeline([], [], chunks).duration": 10,
        "new Timeline([], [], []).indexAt(0)": None,
        "new Timeline([at(7)], [], []).indexAt(5)": 7,
        "lastUpTo([], 1)": -1,
    }.items(),
)
def test_the_timeline_maps_times_to_frames_and_chunks(run, expression, expected):
    assert run(TIMELINE, f"JSON.stringify({expression}, (_, each) => each?.toFixed ? +each.toFixed(6) : each)") == (
        json.dumps(expected, separators=(",", ":"))
    )


FILMS = (
    TIMELINE
    + """
const ofFilms = (...films) => new Timeline(anchors, [], films.map((film, n) => chunk(n, 2 * n, 2 * n + 2, film)));
const { sourceOf, reasonOf } = await import("/static/teleop/films.js");
"""
)


@pytest.mark.parametrize(
    "expression, expected",
    {
        # A film that keeps its times and is shorter than its interval leaves a rest; 50 ms are no rest.
        "ofFilms({ stretch: 1, duration_s: 1.5 }, { stretch: 1, duration_s: 1.96 }).coverage('front')": [
            *([0, 1.5, "original"], [2, 4, "original"])
        ],
        "ofFilms({ stretch: 1, duration_s: 1.5 }).chunkAt('front', 1.6)": None,
        "ofFilms({ stretch: 1.25, duration_s: 1.6 }).chunkAt('front', 1.9).id": 0,
        "ofFilms({ stretch: 1, duration_s: 2.5 }, {}).chunkAt('front', 2.1).id": 1,
        "ofFilms({ preview: 'none' }, { preview: 'proxy' }, {}).coverage('front')": [
            *([0, 2, "none"], [2, 6, "original"])
        ],
        "[{ preview: 'pending' }, { duration_s: null }, {}].map((film) => ofFilms(film).isPending)": [
            True,
            True,
            False,
        ],
        "sourceOf({ id: 7, preview: 'original', first_picture_s: 5 })": {"url": "/videos/7/content", "begin": 5},
        "sourceOf({ id: 7, preview: 'proxy', first_picture_s: 5 })": {"url": "/videos/7/proxy", "begin": 0},
        "sourceOf({ id: 7, preview: 'original', proxy: 'url', isBroken: true }).url": "/videos/7/proxy",
        "['pending', 'none'].map((preview) => sourceOf({ preview }))": [None, None],
        "reasonOf({ preview: 'none', codec: '', pixel_format: 'gray' })": "this film cannot be played",
        "sourceOf({ id: 7, preview: 'original', first_picture_s: null }).begin": 0,
    }.items(),
)
def test_it_knows_when_and_how_a_film_is_seen(run, expression, expected):
    assert run(FILMS, expression) == expected


STEPPED = """
const { Timeline } = await import("/static/teleop/timeline.js");
const start = 1767600000;
const steps = [
  { frame_index: 10, before: start + 9, timestamp: start - 7190, step_s: -7200 },
  { frame_index: 20, before: start - 7181, timestamp: start + 3e7, step_s: 3e7 + 7180 },
];
const chunk = (from) => ({ id: 1, camera_key: "front", start_timestamp: from, end_timestamp: from + 3 });
const chunks = [start + 5, start - 7185, start + 3e7].map(chunk);
const timeline = new Timeline([[0, start], [29, start + 29]], [], chunks, steps);
"""


@pytest.mark.parametrize(
    "expression, expected",
    {
        "timeline.duration": 29,
        "[[0, 0], [9, 9], [10, -7190], [19, -7181], [20, 3e7], [29, 3e7 + 9]].map(([index, moment]) => "
        "timeline.timeOfFrame(index, start + moment))": [0, 9, 10, 19, 20, 29],
        "[-1, 9.5, -7191, -7181, 3e7, 3e7 + 100].map((moment) => timeline.timeOf(start + moment))": [
            *(-1, 9.5, 9, 19, 20, 120)
        ],
        "timeline.coverage('front').map(([from, to]) => [from, to])": [[5, 8], [15, 18], [20, 23]],
    }.items(),
)
def test_the_timeline_continues_where_the_clock_stepped(run, expression, expected):
    assert run(STEPPED, expression) == expected


def test_the_timeline_learns_the_time_of_a_frame(run):
    wrong = "timeline.learn({ index: 500, time: 9.5 })"  # the rate changed: not at 8.33 s
    assert run(TIMELINE, f"({wrong}, [timeline.indexAt(9.5), timeline.anchors.length])") == [500, 6]


@pytest.mark.parametrize(
    "steps, time",
    {
        "after(3)": 0,  # the clock is stopped
        "clock.play(), after(3)": 3,
        "clock.rate = 2, clock.play(), after(3)": 6,
        "clock.play(), after(3), clock.rate = 0.25, after(4)": 4,
        "clock.play(), after(3), clock.pause(), after(3)": 3,
        "clock.play(), after(3), clock.seek(8), after(1)": 9,
        "clock.play(), after(30), clock.playing": False,
        "clock.seek(10), clock.play(), after(1)": 1,  # at the end it starts from the beginning
        "clock.seek(-1), clock.time": 0,
        "clock.seek(11), clock.time": 10,
        "clock.play(), clock.await('video', false), after(3)": 0,
        "clock.play(), clock.await('video', false), after(3), clock.await('video', true), after(1)": 1,
    }.items(),
)
def test_the_clock_plays_pauses_seeks_and_waits(run, steps, time):
    assert run(CLOCK, f"({steps})") == time


def test_the_clock_dispatches_change_events(run):
    count = "let count = 0; clock.addEventListener('change', () => count++)"
    assert run(f"{CLOCK}; {count}", "(clock.play(), after(3), clock.seek(1), clock.pause(), count)") == 3


@pytest.mark.parametrize(
    "expression, expected",
    {
        "frames.at(1) ?? 'not yet'": "not yet",
        "(await frames.read(1)).index": 60,
        "(await frames.read(1), frames.at(1.01)).index": 60,
        "(await frames.read(3)).index": 99,  # in the gap
        "(await frames.read(10)).index": 600,
        "(await frames.read(0)).values": {"observation.a.pos": 0},
        "(await frames.step(99 / 60, 1)).index": 400,
        "(await frames.step(400 / 60, -1)).index": 99,
        "(await frames.step(10, 1)).index": 600,
        "(await frames.step(0, -1)).index": 0,
        "await new Frames(new Timeline([], [], []), null).read(0)": None,
        "(await frames.read(1), await frames.read(1.2), asked)": [0],
        "valuesOf({ a: [1, { b: true }], c: 'text', d: null })": {"a.0": 1, "a.1.b": True, "c": "text"},
    }.items(),
)
def test_it_finds_the_frame_for_a_time(run, expression, expected):
    assert run(FRAMES, expression) == expected


def test_it_steps_through_every_frame_in_both_directions(run):
    walk = """
      const path = [];
      for (const step of [1, -1])
        for (let frame = await frames.read(step > 0 ? 0 : 10), last; frame.index !== last; ) {
          path.push(last = frame.index);
          frame = await frames.step(frame.time, step);
        }"""
    stored = [*range(100), *range(400, 601)]
    assert run(FRAMES + walk, "path") == stored + stored[::-1]


@pytest.mark.parametrize(
    "steps, seen",
    {
        "view.show(20, 40)": [20, 40],
        "view.show(-10, 10)": [0, 20],
        "view.show(50, 50.2)": [49.6, 50.6],
        "view.zoom(2, 25)": [12.5, 62.5],
        "(view.zoom(4, 50), view.zoom(0.01, 50))": [0, 100],
        "(view.show(20, 40), view.follow(30))": [20, 40],
        "(view.show(20, 40), view.follow(50))": [48, 68],
    }.items(),
)
def test_the_view_shows_zooms_and_follows(run, steps, seen):
    assert run(VIEW, f"({steps}, seen())") == pytest.approx(seen)


@pytest.mark.parametrize(
    "values, times", [([0, 10, 0, 10], 3), ([0, 5, None, 10], 1), ([3, 3], 0), ([], 0), ([-1e308, 1e308, 0], 0)]
)
def test_it_counts_the_swings_of_a_series(run, values, times):
    swings = 'const { swings } = await import("/static/teleop/series.js")'
    assert run(swings, f"swings({{ values: {json.dumps(values)} }}) || 0") == times


def test_it_pairs_observation_and_action_by_joint_name(run):
    columns = [
        {"name": name, "timestamps": [10, 9, 11], "values": [1, 2, None]}  # the clock was set back by a second
        for name in ("observation.a.pos", "observation.b.pos", "action.a.pos", "battery")
    ]
    jointsOf = 'const { jointsOf } = await import("/static/teleop/series.js")'
    joints = run(jointsOf, f"jointsOf({json.dumps(columns)}, 10)")
    assert [each["name"] for each in joints] == ["a.pos", "b.pos", "battery"]
    assert joints[0]["observation"] == joints[0]["action"] == {"times": [0, 1], "values": [1, None]}
    assert joints[2]["columns"] == {"observation": "battery"}


def test_it_pairs_the_vectors_of_lerobot(run):
    columns = [
        {"name": name, "timestamps": [10, 11], "values": [1, 2]}
        for name in ("observation.state.0", "observation.state.1", "action.0", "action.1", "observation.state.x")
    ]
    jointsOf = 'const { jointsOf } = await import("/static/teleop/series.js")'
    joints = run(jointsOf, f"jointsOf({json.dumps(columns)}, 10)")
    assert [each["name"] for each in joints] == ["0", "1", "state.x"]
    assert joints[0]["columns"] == {"observation": "observation.state.0", "action": "action.0"}


@pytest.mark.parametrize(
    "data",
    [
        {"observation": {"pan.pos": 1}, "action": {"pan.pos": 2}},
        {"observation.pan.pos": 1, "action.pan.pos": 2, "task": "fold"},
        {"observation": {"pan.pos": 1}, "action.pan.pos": 2},
    ],
)
def test_live_frames_show_a_joint_in_every_shape(run, data):
    recent = 'const { Recent } = await import("/static/teleop/recent.js"); const recent = new Recent(10)'
    joints = run(recent, f"(recent.add(1, [[0, 5, {json.dumps(data)}]]), Object.fromEntries(recent.columns().joints))")
    assert joints["pan.pos"] == {"observation": [1], "action": [2]}


def test_live_frames_pair_the_vectors_of_lerobot(run):
    recent = 'const { Recent } = await import("/static/teleop/recent.js"); const recent = new Recent(10)'
    data = json.dumps({"observation.state": [1, 2], "action": [3, 4]})
    joints = run(recent, f"(recent.add(1, [[0, 5, {data}]]), Object.fromEntries(recent.columns().joints))")
    assert joints == {"0": {"observation": [1], "action": [3]}, "1": {"observation": [2], "action": [4]}}
