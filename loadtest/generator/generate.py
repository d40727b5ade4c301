"""Run the load generator as a process: `python -m loadtest.generator.generate '{"host": ..., "robots": 10, ...}'`.

Prints JSON lines as events: `connecting`, `second` once a second while it measures, and `done`.
"""

import argparse
import gc
import json
import logging
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment  # first: Locust patches modules that the other imports use
from locust.runners import LocalRunner

from loadtest.generator import users
from loadtest.generator.frames import FPS
from loadtest.generator.measure import distribution, percentile, quantiles, rounded

SPAWN_RATE = 40  # robots a second, while they connect
CONNECT_TIMEOUT_S = 30
DRAIN_S = 20
GRACE_S = 0.15  # time for the last frames' acks, which still count as answered in time
ROBOTS_PER_API_USER = 5
SCENARIOS = {
    "robots": (users.RobotUser, users.ApiUser),
    "report": (users.ReportRobotUser, users.ApiUser),
    "mixed": (users.MixedUser, None),
}


class Generator:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = argparse.Namespace(**options)
        self.options.frames = round(self.options.duration * FPS)
        self.streaming, self.requesting = SCENARIOS[self.options.scenario]
        classes = [user for user in (self.streaming, self.requesting) if user]
        self.environment = Environment(user_classes=classes, host=self.options.host, parsed_options=self.options)
        self.start = users.start = Event()
        self.environment.events.request.add_listener(self._answered)
        self.latencies_ms: list[float] = []
        self.answers_ms: defaultdict[str, list[float]] = defaultdict(list)
        self.failures: Counter[str] = Counter()
        self.answer_failures: Counter[str] = Counter()
        self.seconds: list[dict[str, Any]] = []
        self.was_stopped = False
        self.answered = 0

    def _answered(
        self, request_type: str, name: str, response_time: float, exception: Exception | None, **_: object
    ) -> None:
        if request_type == "WS":
            if exception:
                self.failures[str(exception)] += 1
            else:
                self.latencies_ms.append(response_time)
        elif exception:
            self.answer_failures[f"{name}: {exception}"] += 1
        else:
            self.answers_ms[name].append(response_time)

    def run(self) -> None:
        emit(phase="connecting", robots=self.options.robots)
        runner = self.environment.create_local_runner()
        counts = {self.streaming.__name__: self.options.robots}
        if self.requesting:
            counts[self.requesting.__name__] = -(-self.options.robots // ROBOTS_PER_API_USER)
        self._connect(runner, counts)
        self._measure()
        self._drain(runner)
        runner.quit()
        emit(phase="done", **self.result())

    def _connect(self, runner: LocalRunner, counts: dict[str, int]) -> None:
        for user_class in self.environment.user_classes:
            user_class.fixed_count = counts[user_class.__name__]
        runner.start(sum(counts.values()), spawn_rate=SPAWN_RATE)
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while len(users.robots) < self.options.robots and not self.was_stopped:
            if time.monotonic() > deadline or self.failures:
                break
            gevent.sleep(0.05)
        if missing := self.options.robots - len(users.robots):
            self.failures["not connected"] += missing

    def _measure(self) -> None:
        users.slips_s.clear()
        # All objects loaded by now stay. Scanning them in the middle of a run took 85 ms, in which no ack was read.
        gc.collect()
        gc.freeze()
        self.began, self.cpu_s = time.perf_counter(), time.process_time()
        users.stream_until = self.began + self.options.duration
        self.start.set()
        emit(phase="measuring")
        for second in range(1, round(self.options.duration) + 1):
            gevent.sleep(max(0, self.began + second - time.perf_counter()))
            if self.was_stopped:
                break
            self._second(second)
        self.cpu_s = time.process_time() - self.cpu_s
        self.measured_s = time.perf_counter() - self.began
        gevent.sleep(GRACE_S)
        self.answered = self._answered_frames()

    def _second(self, second: int) -> None:
        known = sum(second["answers"] for second in self.seconds)
        fresh = self.latencies_ms[known:]
        sent, acked = self._count("sent"), self._count("acked")
        before = self.seconds[-1]["sent"] if self.seconds else 0
        self.seconds.append(
            {
                "second": second,
                "answers": len(fresh),
                "sent": sent,
                "rate": sent - before,
                "lag_frames": sent - acked - self._count("refused") if self.streaming is users.RobotUser else None,
                "p50_ms": rounded(percentile(fresh, 0.5)),
                "p95_ms": rounded(percentile(fresh, 0.95)),
                "failures": self.failures.total() + self.answer_failures.total(),
            }
        )
        emit(phase="second", **self.seconds[-1])

    def _drain(self, runner: LocalRunner) -> None:
        """Wait for the robots, which end by themselves after their last ack and the server's own count."""
        emit(phase="draining")
        deadline = time.monotonic() + DRAIN_S
        while time.monotonic() < deadline and not self.was_stopped:
            if runner.user_classes_count.get(self.streaming.__name__, 0) == 0:
                break
            gevent.sleep(0.05)

    def _count(self, name: str) -> int:
        return sum(getattr(robot, name, 0) for robot in users.robots)

    def _answered_frames(self) -> int:
        """Count answered frames and also, for the mixed user, requests, as the report did."""
        answered = self._count("acked" if self.streaming is users.RobotUser else "sent")
        if self.streaming is users.MixedUser:
            answered += sum(map(len, self.answers_ms.values()))
        return answered

    def result(self) -> dict[str, Any]:
        counted = [getattr(robot, "frame_count", None) for robot in users.robots]
        has_acks = self.streaming is users.RobotUser
        return {
            "was_stopped": self.was_stopped,
            "measured_s": round(self.measured_s, 3),
            "sent": self._count("sent"),
            "acked": self._count("acked") if has_acks else None,
            "rps": round(self.answered / self.measured_s, 1),
            "stored_as_told": None if None in counted else sum(counted),
            "latency_ms": quantiles(self.latencies_ms),
            "distribution_ms": distribution(self.latencies_ms),
            "send_ms": quantiles([seconds * 1000 for seconds in users.sends_s]),
            "failures": dict(self.failures),
            "api_failures": dict(self.answer_failures),
            "api_requests": sum(map(len, self.answers_ms.values())),
            "api_ms": {name: quantiles(values) for name, values in sorted(self.answers_ms.items())},
            "generator": {
                "cpu": round(self.cpu_s / self.measured_s, 3),
                "slip_ms": quantiles([seconds * 1000 for seconds in users.slips_s]),
            },
            "seconds": self.seconds,
        }


def emit(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def main() -> None:
    logging.getLogger("locust").setLevel(logging.WARNING)
    generator = Generator(json.loads(sys.argv[1]))

    def stop(*_: object) -> None:
        generator.was_stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and then ends this process
    generator.run()
    os._exit(0)  # exit at once: a greenlet that waits for a stopped server would block a normal exit


if __name__ == "__main__":
    main()
