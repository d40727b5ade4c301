"""The command `teleop-sidecar`: record a robot through the Foxglove server that lerobot opens for its display.

lerobot runs unmodified, with `--display_data=true --display_mode=foxglove`. The sidecar is a process beside it that
subscribes as the Foxglove app does. docs/lerobot.md lists the limits of this way, compared with the plugin
`lerobot_robot_teleop`.
"""
