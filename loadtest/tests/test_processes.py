import psutil
import pytest

from loadtest.run import processes
from loadtest.run.processes import Redis, Unusable

pytestmark = pytest.mark.once


class UnreadyRedis(Redis):
    error: BaseException | None = None

    def answers(self) -> bool:
        if self.error:
            raise self.error
        return False


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_it_stops_a_service_that_does_not_become_ready(error, monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "START_TIMEOUT_S", 0.2)
    redis = UnreadyRedis(tmp_path)
    redis.error = error
    with pytest.raises((Unusable, KeyboardInterrupt)):
        redis.start()
    assert not psutil.pid_exists(redis.process.pid)


def test_it_reports_in_one_line_that_a_service_did_not_start(monkeypatch, tmp_path):
    monkeypatch.setattr(Redis, "command", lambda self: ["sh", "-c", "echo one; echo two; exit 3"])
    with pytest.raises(Unusable) as error:
        Redis(tmp_path).start()
    assert str(error.value) == "redis did not start (exit code 3): two"
    assert error.value.__notes__ == ["one\ntwo\n"]
