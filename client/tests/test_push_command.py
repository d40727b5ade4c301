"""The command `teleop push`: its options, and what it says and returns."""

import os
import shutil
import subprocess
import sys

import pytest
from push_fixtures import V3_H264, V21_AV1
from teleop_client import commands
from teleop_client.push import pushing, watch
from teleop_client.push.command import chosen, episode_range, moment
from teleop_client.push.dataset import open_dataset
from teleop_client.push.episode_key import session_keys
from teleop_client.push.target import Target

NOWHERE = "ws://127.0.0.1:9"  # no test may connect


def push(*options):
    return commands.main(["push", "--url", NOWHERE, "--robot", "arm", *map(str, options)])


def wrist(dataset):
    return dataset / "videos/chunk-000/observation.images.wrist/episode_000001.mp4"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "one of DATASET and --watch DIR is required"),
        ([V3_H264, "--watch", "."], "one of DATASET and --watch DIR is required"),
        ([V3_H264, "--episodes", "5:x"], "'5:x'; an episode such as 7, or a range such as 0:50, expected"),
        ([V3_H264, "--upload-kbit-s", "2"], "'2'; a number of at least 16 expected"),
        ([V3_H264, "--recorded-at", "May"], "'May'; a time such as 2026-05-17T14:00:00+02:00 expected"),
        ([V3_H264, "--recorded-at", "1970-01-01"], "a time such as"),
        ([V3_H264, "--robot", "an arm"], "robot_id is 'an arm'"),
        ([V3_H264, "--url", "ftp://server"], "url is 'ftp://server'"),
        ([V3_H264, "--ca-file", "ca.pem"], "ssl and ca_file are for connections with TLS"),
        ([V3_H264, "--key-file", "missing"], "No such file"),
        (["--watch", "missing"], "--watch is missing; a folder expected"),
        (["--watch", ".", "--dry-run"], "--recorded-at and --dry-run are for one DATASET"),
    ],
)
def test_it_refuses_an_option_that_cannot_be_used(options, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        push(*options)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_it_needs_the_address_of_the_server(monkeypatch, capsys):
    monkeypatch.delenv("TELEOP_URL", raising=False)
    with pytest.raises(SystemExit):
        commands.main(["push", str(V3_H264), "--robot", "arm"])
    assert "--url or TELEOP_URL is required" in capsys.readouterr().err


def test_it_says_that_the_key_file_has_no_key_of_the_robot(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TELEOP_KEY", raising=False)
    (keys := tmp_path / "keys").touch(mode=0o600)
    with pytest.raises(SystemExit):
        push(V3_H264, "--key-file", keys, "--dry-run")
    assert "keys has no key of the robot arm" in capsys.readouterr().err


def test_it_says_which_time_it_guesses(tmp_path, capsys):
    dataset = shutil.copytree(V3_H264, tmp_path / "towels")
    os.utime(dataset / "meta/info.json", (1779019200, 1779019200))
    push(dataset, "--dry-run")
    guess = "note: the time of row 0 is guessed from that of meta/info.json: 2026-05-17 11:59:52 UTC"
    assert guess in capsys.readouterr().err
    push(dataset, "--dry-run", "--recorded-at", "2026-05-17")
    assert "guessed" not in capsys.readouterr().err


def test_it_names_the_extra_that_it_needs():
    program = "import sys; sys.modules['pyarrow'] = None; from teleop_client import commands; commands.main()"
    options = ["push", V3_H264, "--url", NOWHERE, "--robot", "arm"]
    done = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, text=True)
    assert done.returncode == 2
    assert "it needs the extra `push` of teleop-client" in done.stderr


def test_it_says_that_a_dataset_cannot_be_used(tmp_path, capsys):
    assert push(tmp_path) == 2
    assert f"{tmp_path} cannot be pushed: " in (shown := capsys.readouterr().err)
    assert "has no meta/info.json" in shown


def test_it_says_that_a_folder_cannot_be_read(capsys):
    assert push("x" * 300) == 2
    assert "cannot be pushed: [Errno 36] File name too long" in capsys.readouterr().err


def test_it_says_that_no_episode_is_chosen(capsys):
    assert push(V3_H264, "--episodes", "3:9") == 2
    assert "it has the episodes 0 to 2, and --episodes chooses none of them" in capsys.readouterr().err


def test_a_dry_run_sends_nothing(capsys):
    assert push(V3_H264, "--dry-run", "--episodes", "1:") == 0
    assert "lerobot-v3.0-h264: 2 episodes were checked in" in capsys.readouterr().err


def test_it_checks_and_sends_nothing_that_an_earlier_push_has_sent():
    dataset = open_dataset(V3_H264)
    summary = pushing.push(dataset, dataset.episodes, Target(NOWHERE, "arm"), done=session_keys(dataset))
    assert summary.lines()[-1].startswith(
        "lerobot-v3.0-h264: 0 of 0 episodes are on the server, and 3 of earlier pushes, in "
    )


def test_it_names_broken_episodes_and_sends_nothing(tmp_path, capsys):
    dataset = shutil.copytree(V21_AV1, tmp_path / "towels")
    os.truncate(wrist(dataset), 1000)
    assert push(dataset) == 1
    shown = capsys.readouterr().err
    assert "failed: episode 1: wrist: " in shown
    assert "note: nothing was sent; --skip-broken sends the episodes that are not broken" in shown
    assert "0 of 3 episodes are on the server" in shown
    assert push(dataset, "--dry-run", "--skip-broken") == 0
    assert "left out: episode 1: wrist: " in capsys.readouterr().err


def test_it_pushes_the_complete_episodes_of_a_killed_recording_by_option(tmp_path, capsys):
    dataset = shutil.copytree(V21_AV1, tmp_path / "towels")
    os.truncate(dataset / "data/chunk-000/episode_000002.parquet", 1000)
    assert push(dataset, "--dry-run") == 2
    assert "its recording was killed (then --skip-broken sends the complete episodes): data" in capsys.readouterr().err
    assert push(dataset, "--dry-run", "--skip-broken") == 0
    assert "left out: episode 2: data/chunk-000/episode_000002.parquet has no Parquet footer" in capsys.readouterr().err


def test_it_needs_the_time_of_a_recording_whose_files_have_none(tmp_path, capsys):
    dataset = shutil.copytree(V3_H264, tmp_path / "towels")
    os.utime(dataset / "meta/info.json", (0, 0))
    assert push(dataset) == 2
    assert "meta/info.json is of 1970-01-01, so the time of the recording is not known; set --recorded-at" in (
        capsys.readouterr().err
    )


def test_it_ends_at_ctrl_c(tmp_path, monkeypatch, capsys):
    def interrupt(watcher):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.Watcher, "run", interrupt)
    assert push("--watch", tmp_path) == 130
    assert "interrupted; push again to go on where it stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "indexes"), [("0:2", [0, 1]), ("1:", [1, 2]), (":1", [0]), ("2", [2]), ("0:50", [0, 1, 2])]
)
def test_it_chooses_episodes(text, indexes):
    assert [episode.index for episode in chosen(open_dataset(V3_H264), episode_range(text))] == indexes


def test_it_reads_a_time_with_and_without_a_zone():
    assert moment("2026-05-17T14:00:00+02:00") == 1779019200
    assert moment("2026-05-17T12:00:00Z") == 1779019200
    assert moment("2026-05-17") == pytest.approx(1779019200, abs=15 * 3600)
