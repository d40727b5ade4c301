"""The part of pynput.keyboard that lerobot's scripts use."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any


class Key(Enum):
    right = auto()
    left = auto()
    up = auto()
    down = auto()
    esc = auto()
    enter = auto()
    tab = auto()
    space = auto()
    backspace = auto()


_listeners: list["Listener"] = []


class Listener:
    def __init__(self, on_press: Callable[[Key], Any]) -> None:
        self.on_press = on_press

    def start(self) -> None:
        _listeners.append(self)

    def stop(self) -> None:
        _listeners.remove(self)


def press(key: Key) -> None:
    for listener in _listeners:
        listener.on_press(key)
