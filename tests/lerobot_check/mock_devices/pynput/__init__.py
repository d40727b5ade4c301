"""A keyboard without a display, in place of the real pynput, which needs one: `keyboard.press(key)` presses a key."""

from . import keyboard

__all__ = ["keyboard"]
