"""Films as people have them: causes of wrong times in a browser. `make films` has many more (film_matrix.py)."""

import pytest

from teleop.tests.recordings import make_session
from tests.browser.film_replay import FOLDER, Film, check_replay, post_film

pytestmark = pytest.mark.postgresql  # once is enough

FILMS = [
    Film("seg_1.mp4", seconds=5, count=150, first=150),  # its first picture is at 5 s
    Film("cut_ss_copy.mp4", seconds=6.5, count=195, first=105),  # the edit list hides 3.5 s
    Film("cv_mp4v.mp4", preview="proxy"),
    Film("vfr_2s_hole.mp4", missing=range(100, 161)),
]


def test_each_picture_is_that_of_the_cursor(server, visit, viewer, tmp_path):
    """All films are cameras of one session, as a page takes seconds of CPU; while it plays, all four play."""
    films = dict(zip(("front", "top", "left", "right"), zip(FILMS, (5, 3, 0, 5), strict=True), strict=True))
    check_replay(films, server, visit, viewer, tmp_path)


def test_a_truncated_film_is_refused(server, tmp_path):
    path = tmp_path / "film.mp4"
    whole = (FOLDER / "h264_bframes_noedit.mp4").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    answer = post_film(server, make_session([0, 600]), path, 10)
    assert "file is not a usable video" in answer["file"][0]
