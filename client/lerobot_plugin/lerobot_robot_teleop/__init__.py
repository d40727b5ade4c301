"""A plugin of LeRobot: for each robot type a type `<type>_stream`, which streams to LeRobot Backend as well."""

import sys

try:
    # lerobot finds the device of a config by the config's name, less "Config".
    from .registry import register_streamed_types
    from .registry import streamed_robot as StreamedRobot

    register_streamed_types()
except Exception as error:
    # Of any class: whatever fails, the user must see it. lerobot logs the error, and then says only that the robot's
    # type is an invalid choice.
    sys.stderr.write(
        f"lerobot_robot_teleop: the robot types with _stream are not available: {type(error).__name__}: {error}\n"
    )
    raise

__all__ = ["StreamedRobot"]
