"""Register a type `<type>_stream` for each robot type that the installed lerobot and its plugins know."""

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import field, fields, make_dataclass
from importlib import metadata
from typing import Any

from lerobot.robots import Robot, RobotConfig, make_robot_from_config

from .config import StreamConfig
from .stream import Stream
from .tap import tap

SUFFIX = "_stream"
PREFIX = "lerobot_robot_"  # of distributions with robot types, as in lerobot's register_third_party_plugins
FIELD = "stream"


def register_streamed_types() -> None:
    """Register the streamed type of each robot type that has none yet."""
    _import_other_plugins()
    for name, config_class in list(RobotConfig.get_known_choices().items()):
        if not name.endswith(SUFFIX) and FIELD not in {each.name for each in fields(config_class)}:
            RobotConfig.register_subclass(name + SUFFIX, _streamed_config(config_class))


def _import_other_plugins() -> None:
    """Import the other plugins of robots: lerobot imports all in no particular order, and their types are needed now.

    lerobot reports a plugin that fails when it imports the plugin itself.
    """
    for name in _plugin_names():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _plugin_names() -> Iterator[str]:
    for distribution in metadata.distributions():
        for name in distribution.metadata.get_all("Name", []):  # none, if the distribution is damaged
            if name.startswith(PREFIX) and name != __package__:
                yield name


def _streamed_config(config_class: type[RobotConfig]) -> type[RobotConfig]:
    """Return a config class with the field `stream`.

    lerobot looks for the device class by the name and the module of its config: `StreamedRobot` in this package.
    """
    return make_dataclass(
        "StreamedRobotConfig",
        [(FIELD, StreamConfig, field(kw_only=True))],
        bases=(config_class,),
        namespace={"__module__": __name__, "__doc__": config_class.__doc__},
    )


def streamed_robot(config: Any) -> Robot:
    """Return the robot of the plain type, as lerobot makes it, which also streams."""
    plain_class: Any = type(config).__base__
    # A copy of the fields. The constructor would run __post_init__ again, which some robots are not made for.
    plain = plain_class.__new__(plain_class)
    vars(plain).update(vars(config))
    return tap(make_robot_from_config(plain), Stream(vars(plain).pop(FIELD)))
