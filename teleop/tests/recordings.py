"""Sessions with frames, for the tests that read them."""

from datetime import UTC, datetime, timedelta

from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession

T0 = datetime(2023, 12, 23, 8, tzinfo=UTC)
T0_S = 1703318400


def arm_data(index: int) -> dict:
    return {"observation": {"shoulder_pan.pos": index / 4, "gripper.pos": -index}, "action": {"gripper.pos": 1}}


def record(session: TeleopSession, indexes, data=arm_data, fps=60) -> None:
    TeleopFrame.objects.bulk_create(
        TeleopFrame(
            session=session,
            robot_id=session.robot_id,
            frame_index=index,
            timestamp=session.start_time + timedelta(seconds=index / fps),
            data=data(index),
        )
        for index in indexes
    )


def make_session(indexes=(), robot="arm", start=T0, is_live=False, data=arm_data, key="") -> TeleopSession:
    owner, _ = Robot.objects.get_or_create(pk=robot)
    last_s = max(indexes, default=0) / 60
    session = TeleopSession.objects.create(
        robot=owner,
        key=key or f"session-{TeleopSession.objects.count():04}",
        start_time=start,
        end_time=None if is_live else start + timedelta(seconds=last_s),
    )
    record(session, indexes, data)
    return session
