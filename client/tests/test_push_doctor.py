"""The doctor names what is wrong with an episode before it is sent."""

import os
import shutil

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from push_datasets import (
    CAMERAS,
    DATA,
    EPISODES,
    FRONT,
    ROWS,
    V21_DATA,
    V21_FRONT,
    edit_info,
    edit_table,
    write_grey_film,
)
from push_fixtures import LENGTHS, V3_AV1, V3_H264, V21_AV1, write_film
from teleop_client.push.dataset import open_dataset
from teleop_client.push.doctor import examine

FRONT_1 = V21_FRONT.format(1)


def findings(root):
    dataset = open_dataset(root, allow_unfinished=True)
    return examine(dataset, dataset.episodes)


def only(root):
    """Return the only finding."""
    (finding,) = findings(root)
    return finding


@pytest.mark.parametrize("root", [V3_H264, V3_AV1, V21_AV1], ids=["v3.0", "v3.0 of AV1", "v2.1"])
def test_it_finds_nothing_in_a_healthy_dataset(root):
    assert findings(root) == []


def test_it_examines_the_given_episodes_only(v21):
    (v21 / FRONT_1).unlink()
    dataset = open_dataset(v21)
    assert examine(dataset, [dataset.episodes[0], dataset.episodes[2]]) == []
    assert [finding.episode for finding in examine(dataset, dataset.episodes[1:2])] == [1]


def test_it_names_an_episode_without_a_film(v21):
    (v21 / FRONT_1).unlink()
    finding = only(v21)
    assert (finding.episode, finding.kind, finding.is_broken) == (1, "film", True)
    assert finding.text == f"episode 1: front: {FRONT_1} is missing"


def test_it_names_all_episodes_of_a_film_that_is_missing(v3):
    (v3 / FRONT).unlink()
    assert [(finding.episode, finding.kind) for finding in findings(v3)] == [(0, "film"), (1, "film"), (2, "film")]


@pytest.mark.parametrize(
    "content", [b"", b"no film", b"#EXTM3U\n#EXTINF:1,\nother.mp4\n", b"ffconcat version 1.0\nfile other.mp4\n"]
)
def test_it_opens_no_file_but_films(v21, content):
    shutil.copy(v21 / FRONT_1, (v21 / FRONT_1).parent / "other.mp4")
    (v21 / FRONT_1).write_bytes(content)
    assert f"front: {FRONT_1} is no readable film: " in only(v21).text


def test_it_does_not_follow_links_to_films(v21):
    (v21 / FRONT_1).unlink()
    dataset = open_dataset(v21)
    (v21 / FRONT_1).symlink_to(V21_AV1 / FRONT_1)  # since it was opened
    (finding,) = examine(dataset, dataset.episodes)
    assert finding.text.endswith("is no regular file")


def test_it_names_a_film_without_pictures_that_can_be_decoded(v21):
    path = v21 / FRONT_1
    data = path.read_bytes()
    begin = data.index(b"mdat") + 4
    path.write_bytes(data[:begin] + bytes(len(data[begin:-4000])) + data[-4000:])
    assert only(v21).text == "episode 1: front: the picture of row 0 cannot be decoded, perhaps others too"


def test_it_names_a_film_that_is_cut_off(v3):
    os.truncate(v3 / FRONT, (v3 / FRONT).stat().st_size // 2)
    assert [finding.text for finding in findings(v3)] == [
        "episode 1: front: there are 15 pictures for 60 rows",
        "episode 2: front: there are 0 pictures for 75 rows",
    ]


@pytest.mark.parametrize("count", [58, 64])
def test_it_compares_rows_with_the_pictures_of_an_own_film(v21, count):
    write_film(v21 / FRONT_1, count)
    finding = only(v21)
    assert (finding.episode, finding.kind) == (1, "pictures")
    assert finding.text == f"episode 1: front: there are {count} pictures for 60 rows"


def test_it_compares_rows_with_the_pictures_of_a_shared_film(v3):
    # The encoder of LeRobot has lost two pictures of the first episode, and knew it.
    write_film(v3 / FRONT, ROWS - 2, g="2")
    begins, ends = [0.0, 88 / 30, 148 / 30], [88 / 30, 148 / 30, 223 / 30]
    edit_table(
        v3 / EPISODES,
        **{
            "videos/observation.images.front/from_timestamp": begins,
            "videos/observation.images.front/to_timestamp": ends,
        },
    )
    finding = only(v3)
    assert (finding.episode, finding.kind) == (0, "pictures")
    assert finding.text == "episode 0: front: there are 88 pictures for 90 rows"


@pytest.mark.parametrize(
    ("step", "row", "is_broken"), [(1.0, None, None), (1.0035, 59, False), (0.99, 59, True)], ids=str
)
def test_it_names_pictures_that_drift(v21, step, row, is_broken):
    write_film(v21 / FRONT_1, times=[step * number for number in range(60)])
    found = findings(v21)
    if row is None:
        assert found == []
    else:
        (finding,) = found
        assert (finding.episode, finding.kind, finding.is_broken) == (1, "drift", is_broken)
        assert f"front: the picture of row {row} is " in finding.text


@pytest.mark.parametrize(("keys", "rows"), [(2, "32 to 80"), (250, "30 to 75")], ids=["many keys", "one key"])
def test_it_names_frozen_pictures(v21, keys, rows):
    write_grey_film(v21 / V21_FRONT.format(0), [*range(0, 100, 5), *[100] * 70], keys=keys)
    finding = only(v21)
    assert (finding.episode, finding.kind, finding.is_broken) == (0, "frozen", False)
    assert finding.text == f"episode 0: front: rows {rows} have the same picture, though the joints move"


def test_a_robot_at_rest_may_see_the_same_picture(v21):
    greys = [*range(20), *[100] * 70]
    write_grey_film(v21 / V21_FRONT.format(0), greys)
    values = [[float(min(row, 20))] * 6 for row in range(90)]
    edit_table(v21 / V21_DATA.format(0), observation__state=pa.array(values, pa.list_(pa.float32(), 6)))
    assert findings(v21) == []


def test_it_names_a_data_file_that_is_missing(v21):
    (v21 / V21_DATA.format(1)).unlink()
    finding = only(v21)
    assert (finding.episode, finding.kind) == (1, "rows")
    assert finding.text == f"episode 1: {V21_DATA.format(1)} is missing"


def test_it_names_a_footer_that_cannot_be_read(v21):
    path = v21 / V21_DATA.format(1)
    path.write_bytes(path.read_bytes()[:-8] + b"\xff\xff\xff\xff" + b"PAR1")
    assert "claims a footer of 4294967295 bytes" in only(v21).text


def test_it_names_a_data_file_without_a_footer(v21):
    path = v21 / V21_DATA.format(1)
    path.write_bytes(path.read_bytes()[:-10])
    of_dataset, of_episode = findings(v21)
    assert (of_dataset.episode, of_dataset.kind) == (None, "unfinished")
    assert (of_episode.episode, of_episode.kind) == (1, "rows")
    assert of_episode.text.endswith("has no Parquet footer, which LeRobot's recorder writes at its end")


def test_it_names_rows_that_are_missing(v3):
    with pq.ParquetFile(v3 / DATA) as file:
        groups = [file.read_row_group(group) for group in range(3)]
    with pq.ParquetWriter(v3 / DATA, groups[0].schema) as writer:
        for table in (groups[0], groups[1].slice(0, 50), groups[2]):
            writer.write_table(table)
    finding = only(v3)
    assert (finding.episode, finding.kind) == (1, "rows")
    assert "has 50 rows of episode 1; 60 expected" in finding.text


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("frame_index", "episode 1: frame_index is 31 in row 30; 30 expected"),
        ("index", "episode 1: index is 121 in row 30; 120 expected"),
    ],
)
def test_it_names_a_gap_in_an_index(v3, column, expected):
    with pq.ParquetFile(v3 / DATA) as file:
        values = file.read([column])[column].to_pylist()
    values[120:150] = [value + 1 for value in values[120:150]]
    edit_table(v3 / DATA, **{column: values})
    finding = only(v3)
    assert (finding.episode, finding.kind, finding.text) == (1, column, expected)


def test_it_names_times_that_are_not_those_of_the_rows(v3):
    times = [
        frame / 30 + 0.01 * (episode == 2 and frame > 3) for episode in range(3) for frame in range(LENGTHS[episode])
    ]
    edit_table(v3 / DATA, timestamp=pa.array(times, pa.float32()))
    finding = only(v3)
    assert (finding.episode, finding.kind) == (2, "timestamp")
    assert "timestamp is 0.1433333" in finding.text


def test_it_names_wrong_totals(v3):
    edit_info(v3, total_frames=7)
    finding = only(v3)
    assert (finding.episode, finding.kind) == (None, "unfinished")
    assert finding.text == "meta/info.json has total_frames 7, but the episodes' metadata has 225"


def test_it_reads_a_film_for_all_its_episodes_at_once(v3, monkeypatch):
    opened = []
    real = av.open
    monkeypatch.setattr(
        av, "open", lambda path, *given, **options: opened.append(path) or real(path, *given, **options)
    )
    assert findings(v3) == []
    assert len(opened) == 2 * len(CAMERAS)  # once for the times, once for the pictures
