"""Convert a frame's values to JSON's: of numpy and torch, without importing either; note the unusable ones. Pure."""

from collections.abc import Callable, Mapping
from itertools import islice
from math import frexp, isfinite, prod
from types import NoneType
from typing import Any

# The server's bounds for a frame (docs/protocol.md). It makes no plots of a session with more numbers.
MAX_ELEMENTS = 4096
MAX_NAMES = 1024
MAX_LEVELS = 254
MAX_TEXT = 128 << 10  # characters
MAX_INT = 1 << 1023  # the server reads numbers as doubles
MAX_KEY_SHOWN = 100

# Keys that the json module accepts, with its text for them.
_KEYS: dict[type, Callable[[Any], str]] = {
    int: str,
    float: repr,
    bool: lambda key: str(key).lower(),
    NoneType: lambda _: "null",
}

_Decimals = dict[int, tuple[int, int, float]]


def _decimals(bits: int, least: int) -> _Decimals:
    """Return a table for `_shortest` of a binary format with so many significant bits.

    `least` is the exponent of the least normal number. The keys are exponents, as `frexp` returns them. The values are
    two powers of ten, and half the distance between neighbouring numbers.
    """
    decimals = {}
    for exponent in range(least - bits + 1, bits):
        power = max(exponent, least) - bits  # neighbours differ by 2 ** power
        places = len(str(1 << -power))  # the fewest that are finer than this: 10 ** -places < 2 ** power
        decimals[exponent] = (10 ** (places - 1), 10**places, 2.0 ** (power - 1))
    return decimals


# By the names of numpy's and torch's types.
_FORMATS: dict[str, _Decimals] = {
    "float64": {},  # a double stays as it is
    "float32": _decimals(24, -125),
    "float16": _decimals(11, -13),
    "bfloat16": _decimals(8, -125),
}


def _shortest(number: float, decimals: _Decimals) -> float:
    """Return the double with the fewest digits that the format rounds to this finite number: 27.392338 for float32.

    `fine` decimals are closer together than the numbers of the format, so the nearest one always stands for the number.
    `coarse` decimals have one place less and are further apart: at most one of them stands for the number, and if none
    does, no decimal with fewer places does. Whole numbers stay exact. So do powers of two, whose lower neighbour is
    nearer than the table says.
    """
    fraction, exponent = frexp(number)
    if number.is_integer() or abs(fraction) == 0.5 or exponent not in decimals:
        return number
    coarse, fine, half = decimals[exponent]
    # Python rounds a quotient of integers correctly, so this is the double that JSON's digits are read as.
    rounded = round(number * coarse) / coarse
    return rounded if abs(rounded - number) < half else round(number * fine) / fine


def _shorten(value: Any, decimals: _Decimals) -> Any:
    """Return a converted value with the shortest digits of its numbers."""
    if type(value) is list:
        return [_shorten(item, decimals) for item in value]
    return _shortest(value, decimals) if type(value) is float else value


def _format(value: Any) -> _Decimals | None:
    """Return the format of an array's or a scalar's numbers, or None if it is Python's own or unknown."""
    dtype = getattr(value, "dtype", None)
    kind = getattr(dtype, "type", dtype)  # a type of numpy; the dtypes of torch have a text only: torch.float32
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    return _FORMATS.get(name.removeprefix("torch."))


def scalar(value: Any) -> float | None:
    """Return a finite scalar of numpy as a float, or None for any other value."""
    try:
        decimals = _FORMATS.get(type(value).__name__)
        if decimals is None or not isfinite(number := float(value)):
            return None
        return _shortest(number, decimals)
    except Exception:  # another class with this name
        return None


class _LeftOut(Exception):
    """The value cannot be sent: the kind of its fault, and the reason in words."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Cleaner:
    """Convert the values of one frame. `faults` maps the key of each unusable value to its kind and a sentence.

    A number that is not finite becomes null. Another unusable value is left out; in a list it becomes null, so that
    the other elements keep their places. The bounds count for the whole frame, and large values are never converted:
    so the time for a frame is bounded too.
    """

    def __init__(self, elements: int = MAX_ELEMENTS, names: int = MAX_NAMES) -> None:
        self.faults: dict[str, tuple[str, str]] = {}
        self._elements, self._names, self._text = elements, names, MAX_TEXT

    def note(self, key: str, kind: str, detail: str, place: str = "") -> None:
        """Note the first fault of a key. `place` is that of an element in its list: `[1]`."""
        key = key[:MAX_KEY_SHOWN]
        if not key.isprintable():
            key = ascii(key)[1:-1]
        self.faults.setdefault(key, (kind, f"{key}{place} {detail}"))

    def take_names(self, count: int) -> bool:
        """Return whether the frame may have so many more keys; if so, count them."""
        if count > self._names:
            return False
        self._names -= count
        return True

    def object(self, mapping: Mapping[Any, Any], key: str = "", level: int = 1) -> dict[str, Any]:
        """Return the mapping with usable keys and values only, in its order."""
        cleaned: dict[str, Any] = {}
        for name, value in mapping.items():
            if self._names <= 0:
                self.note(key or "frame", "names", "has too many keys for a frame")
                break
            # Almost all values of a robot are such: these lines are the cost of a clean frame.
            number = value if type(value) is float else scalar(value)
            if number is not None and isfinite(number) and type(name) is str and name.isprintable():
                cleaned[name] = number
                self._names -= 1
            else:
                self._entry(cleaned, name, value, key, level)
        return cleaned

    def _entry(self, cleaned: dict[str, Any], name: Any, value: Any, key: str, level: int) -> None:
        path, elements = key, self._elements
        try:
            name = self._key(name)
            path = f"{key}.{name}" if key else name
            cleaned[name] = converted = self._convert(value, path, "", level + 1)
            self._names -= type(converted) is not dict or not converted
        except Exception as error:  # a method of the caller's object may raise anything
            self._elements, self._names = elements, self._names - 1
            self._note_error(error, path, value)

    def _note_error(self, error: Exception, key: str, value: Any, place: str = "") -> None:
        if isinstance(error, _LeftOut):
            self.note(key, error.kind, str(error), place)
        else:  # from a method of the value
            detail = f"is {type(value).__name__}, whose conversion raised {type(error).__name__}"
            self.note(key, "object", detail, place)

    def _key(self, name: Any) -> str:
        if isinstance(name, str):
            return self._checked(str.__str__(name))
        if type(name) not in _KEYS:
            raise _LeftOut("key", f"has a key of the type {type(name).__name__}; keys must be str")
        return _KEYS[type(name)](name)

    def _convert(self, value: Any, key: str, place: str, level: int) -> Any:
        if value is None or type(value) is bool:
            return value
        if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a scalar of numpy or torch
            return self._with_format(value, value.item(), key, place, level)
        if isinstance(value, float):
            number = float.__float__(value)
            return number if isfinite(number) else self._null(repr(number), key, place)
        if isinstance(value, int):
            number = int.__int__(value)
            return number if abs(number) < MAX_INT else self._null("beyond the doubles", key, place)
        if isinstance(value, str):
            return self._checked(str.__str__(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            raise _LeftOut("bytes", f"is {type(value).__name__}; numbers or text expected")
        if level > MAX_LEVELS:
            raise _LeftOut("levels", f"is nested deeper than {MAX_LEVELS} levels")
        if isinstance(value, (list, tuple)):
            return self._list(value, key, place, level)
        if type(value) is dict or isinstance(value, Mapping):
            return self.object(value, key + place, level)
        return self._with_format(value, self._of_array(value), key, place, level)

    def _with_format(self, value: Any, plain: Any, key: str, place: str, level: int) -> Any:
        """Convert the Python value of an array or a scalar; write its numbers as its dtype would."""
        converted = self._convert(plain, key, place, level + 1)
        decimals = _format(value)
        return _shorten(converted, decimals) if decimals else converted

    def _null(self, shown: str, key: str, place: str) -> None:
        self.note(key, "not finite", f"is {shown}; a finite number expected", place)

    def _checked(self, text: str) -> str:
        if len(text) > self._text:
            raise _LeftOut("text", f"has {len(text)} characters, too many for a frame")
        self._text -= len(text)
        if not text.isprintable():
            if "\0" in text:
                raise _LeftOut("text", "contains NUL, which no database stores")
            try:
                text.encode()
            except UnicodeEncodeError:
                raise _LeftOut("text", "contains a lone surrogate, which is not Unicode") from None
        return text

    def _list(self, items: Any, key: str, place: str, level: int) -> list[Any]:
        # The methods of a subclass may do anything, for example never stop.
        elements = list(items) if type(items) in (list, tuple) else list(islice(items, MAX_TEXT))
        self._take_elements(len(elements))
        numbers: list[Any] = elements
        if not {float}.issuperset(map(type, elements)):
            numbers = [item if type(item) is float else scalar(item) for item in elements]
        if None not in numbers and all(map(isfinite, numbers)):
            return numbers
        return [self._element(element, key, f"{place}[{at}]", level + 1) for at, element in enumerate(elements)]

    def _element(self, item: Any, key: str, place: str, level: int) -> Any:
        try:
            return self._convert(item, key, place, level)
        except Exception as error:  # a method of the caller's object may raise anything
            if isinstance(error, _LeftOut) and error.kind in ("large", "image"):
                raise  # a part of an image is of no use
            self._note_error(error, key, item, place)

    def _take_elements(self, count: int) -> None:
        if count > self._elements:
            raise _LeftOut("large", "has too many elements for a frame; images are uploaded as video")
        self._elements -= count

    def _of_array(self, value: Any) -> Any:
        """Return an array as lists and a scalar as a number, or raise _LeftOut before it converts an image."""
        shape = getattr(value, "shape", None)
        if not hasattr(value, "tolist") or (shape is None and not hasattr(value, "__len__")):
            if not hasattr(value, "item"):
                raise _LeftOut("object", f"is {type(value).__name__}, which is not JSON")
            return value.item()
        shape = (len(value),) if shape is None else tuple(shape)
        if prod(shape) > self._elements or (len(shape) > 1 and str(getattr(value, "dtype", "")).endswith("uint8")):
            kind, size = type(value).__name__, "x".join(map(str, shape))
            raise _LeftOut("image", f"is {kind} of {size}; images are uploaded as video")
        return value.tolist()
