"""Push the episodes of one dataset: the doctor's report first, then one session an episode, then a summary."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from .dataset import Dataset, Episode
from .doctor import Finding, examine
from .episode import EpisodeResult, EpisodeSender
from .episode_key import session_keys
from .recording_time import RecordingTime
from .target import Target

Progress = Callable[[str], None]
COUNTS = ("frames_sent", "frames_known", "frames_refused", "films_sent", "films_known", "film_bytes")


@dataclass
class Summary:
    """The result of a push. `faults` are failures; an option or staff chose to leave out the sessions in `left_out`."""

    name: str
    is_dry_run: bool = False
    episodes: int = 0
    earlier: int = 0  # episodes that an earlier push has sent
    complete: list[str] = field(default_factory=list)  # keys of the sessions that the server has as a whole
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    left_out: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    is_stopped: bool = False  # the server was away, or refused the robot

    def add(self, episode: Episode, result: EpisodeResult) -> None:
        for name in COUNTS:
            self.totals[name] += getattr(result, name)
        self.is_stopped |= result.is_stopped
        self.notes += [f"episode {episode.index}: {note}" for note in result.notes]
        if result.is_deleted:
            self.left_out.append(
                f"episode {episode.index}: session {result.session} was deleted on the server; --deleted sends it again"
            )
        elif result.faults:
            self.faults += [f"episode {episode.index}: {fault}" for fault in result.faults]
        else:
            self.complete.append(result.session)

    def lines(self) -> list[str]:
        """Return the summary for people."""
        return [
            *(f"note: {note}" for note in self.notes),
            *(f"left out: {each}" for each in self.left_out),
            *(f"failed: {fault}" for fault in self.faults),
            f"{self.name}: {self._counts()}. Left out: {len(self.left_out)}. Failed: {len(self.faults)}",
        ]

    def _counts(self) -> str:
        if self.is_dry_run:
            return f"{self.episodes} episodes were checked in {self.seconds:.1f} s, and nothing was sent"
        found, earlier = self.totals, f", and {self.earlier} of earlier pushes" if self.earlier else ""
        return (
            f"{len(self.complete)} of {self.episodes} episodes are on the server{earlier}, in {self.seconds:.1f} s. "
            f"Frames: {found['frames_sent']} sent, {found['frames_known']} known, {found['frames_refused']} refused. "
            f"Films: {found['films_sent']} sent, {found['films_known']} known, {found['film_bytes'] / 1e6:.1f} MB"
        )


def push(
    dataset: Dataset,
    chosen: Sequence[Episode],
    target: Target,
    *,
    recorded_at_s: float | None = None,
    skip_broken: bool = False,
    is_dry_run: bool = False,
    done: Collection[str] = (),
    progress: Progress = lambda text: None,
) -> Summary:
    """Send the chosen episodes whose sessions are not in `done`. Raise DatasetUnusable if their time is not known."""
    begin_s, summary = time.monotonic(), Summary(dataset.name, is_dry_run)
    time_of_rows = RecordingTime.of(dataset, recorded_at_s)
    progress("reading rows")
    keys = {each.index: key for each, key in zip(dataset.episodes, session_keys(dataset), strict=True)}
    episodes = [each for each in chosen if keys[each.index] not in done]
    summary.episodes, summary.earlier = len(episodes), len(chosen) - len(episodes)
    summary.left_out += dataset.left_out.values()
    progress(f"checking {len(episodes)} episodes")
    broken = _report(examine(dataset, episodes), skip_broken, summary)
    if not summary.faults and not is_dry_run:
        sender = EpisodeSender(target, dataset, time_of_rows)
        _send_all(sender, [each for each in episodes if each.index not in broken], keys, summary, progress)
    if any(map(time_of_rows.is_guessed, episodes)) and (is_dry_run or summary.totals["frames_sent"]):
        summary.notes.append(time_of_rows.guess)
    summary.seconds = time.monotonic() - begin_s
    return summary


def _report(findings: Sequence[Finding], skip_broken: bool, summary: Summary) -> set[int]:
    """Put the doctor's findings into the summary; return the broken episodes."""
    broken = [finding for finding in findings if finding.is_broken]
    summary.notes += [f"{finding.text} ({finding.kind})" for finding in findings if not finding.is_broken]
    (summary.left_out if skip_broken else summary.faults).extend(f"{each.text} ({each.kind})" for each in broken)
    if broken and not skip_broken:
        summary.notes.append("nothing was sent; --skip-broken sends the episodes that are not broken")
    return {finding.episode for finding in broken if finding.episode is not None}


def _send_all(
    sender: EpisodeSender,
    episodes: Sequence[Episode],
    keys: Mapping[int, str | None],
    summary: Summary,
    progress: Progress,
) -> None:
    for number, episode in enumerate(episodes, 1):
        head = f"episode {episode.index} ({number} of {len(episodes)})"
        progress(head)
        if (session := keys[episode.index]) is None:
            summary.faults.append(f"episode {episode.index}: its rows cannot be read")
            continue
        summary.add(episode, sender.send(episode, session, partial(_show, progress, head)))
        if summary.is_stopped:
            return


def _show(progress: Progress, head: str, text: str) -> None:
    progress(f"{head}: {text}")
