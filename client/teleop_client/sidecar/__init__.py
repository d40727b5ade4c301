"""The command `teleop-sidecar`: record a robot through the Foxglove server that lerobot opens for its display.

lerobot runs unmodified, with `--display_data=true --display_mode=foxglove`. The sidecar is a process beside it that
subscribes as the Foxglove app does. The limits of this way, compared with the plugin `lerobot_robot_teleop`:

- It needs lerobot 0.6 or later: earlier versions have no `--display_mode`.
- The action is that of the teleoperator. The action that the robot was sent, after clipping, is not displayed.
- lerobot does not display where an episode begins and ends, so one run of lerobot is one session. It contains the
  reset phases. Neither the task nor the robot's type is displayed: give `--task`.
- lerobot opens a topic at its first message, which nobody can have subscribed by then. So the first one or two
  frames and pictures of a run are missing.
- lerobot keeps 1,024 messages for a slow reader, and then drops the oldest: 5 s of a loop of 60 Hz with one camera. The
  sidecar counts frames that arrive without their observation or action, and cannot see frames that are lost whole.
- The display costs lerobot's loop time: it copies each picture (110 MB/s for two cameras of 640x480 at 60 Hz), or
  encodes it as JPEG, with `--display_compressed_images=true` or if `--display_ip` and `--display_port` are both given.
- lerobot's server asks for no password. With `--display_ip=0.0.0.0`, for a sidecar on another computer (`--host`),
  everyone in the network can watch the robot.
- If staff end the session on the server, nothing more is recorded until lerobot starts again.
- Pictures have the time of the frame, and not of the camera. Depth pictures are left out. lerobot writes a dot in a
  camera's name as an underscore.
- If lerobot's clock is set while it runs, times go on steadily. A step forward of less than 2 s is not noticed.
"""
