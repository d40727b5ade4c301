"""The digits of float32, float16 and bfloat16 on the wire: the shortest that stand for the same number of this type."""

import json
import struct
from math import frexp, isfinite, nan, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st
from teleop_client.values import MAX_ELEMENTS, Cleaner

FORMATS = ["float32", "float16", "bfloat16"]


def read(bits, kind):
    """Return the number with these bits."""
    if kind == "float16":
        return struct.unpack("<e", struct.pack("<H", bits))[0]
    return struct.unpack("<f", struct.pack("<I", bits << 16 if kind == "bfloat16" else bits))[0]


def rounded(number, kind):
    """Return the bits of a double in the format."""
    if kind == "float16":
        return struct.unpack("<H", struct.pack("<e", number))[0]
    bits = struct.unpack("<I", struct.pack("<f", number))[0]
    return bits + 0x7FFF + (bits >> 16 & 1) >> 16 if kind == "bfloat16" else bits


class Torch:
    """A tensor as torch has them: its dtype has no name but its text."""

    def __init__(self, values, kind, shape=None):
        self.values, self.dtype = values, type("dtype", (), {"__str__": lambda _: f"torch.{kind}"})()
        self.shape = (len(values),) if shape is None else shape

    def tolist(self):
        return self.values

    item = tolist


def cleaned(value):
    cleaner = Cleaner()
    result = cleaner.object({"a": value})["a"]
    assert cleaner.faults == {}
    return result


def all_cleaned(numbers, kind):
    for start in range(0, len(numbers), MAX_ELEMENTS):
        yield from cleaned(Torch(numbers[start : start + MAX_ELEMENTS], kind))


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_every_number_of_16_bits_is_read_back_bit_for_bit(kind):
    numbers = [(bits, read(bits, kind)) for bits in range(1 << 16)]
    finite = [number for _, number in numbers if isfinite(number)]
    sent = json.loads(json.dumps(list(all_cleaned(finite, kind))))
    assert [rounded(number, kind) for number in sent] == [bits for bits, number in numbers if isfinite(number)]


@given(st.integers(0, (1 << 32) - 1))
def test_a_float32_is_read_back_bit_for_bit(bits):
    number = read(bits, "float32")
    if isfinite(number):
        assert rounded(cleaned(Torch(number, "float32", ())), "float32") == bits


def test_a_float32_at_the_borders_is_read_back_bit_for_bit():
    powers = [exponent << 23 for exponent in range(255)] + [1 << bit for bit in range(23)]
    patterns = [sign | power + near & 0x7FFFFFFF for sign in (0, 1 << 31) for power in powers for near in range(-4, 5)]
    patterns = [bits for bits in patterns if isfinite(read(bits, "float32"))]
    sent = all_cleaned([read(bits, "float32") for bits in patterns], "float32")
    assert [rounded(number, "float32") for number in sent] == patterns


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_the_digits_are_those_that_numpy_shows(kind):
    numpy = pytest.importorskip("numpy")
    random = numpy.random.default_rng(1)
    size = 4 if kind == "float32" else 2
    everywhere = numpy.frombuffer(random.bytes(5000 * size), kind)
    values = [*everywhere, *random.normal(0, 90, 5000).astype(kind), *random.normal(0, 90, 5000).round(2).astype(kind)]
    fractions = [value for value in values if isfinite(value) and value % 1 and abs(frexp(value)[0]) != 0.5]
    assert len(fractions) > 8000
    assert [cleaned(value) for value in fractions] == [float(str(value)) for value in fractions]


def scalar(kind, number):
    return getattr(pytest.importorskip("numpy"), kind)(number)


def array(kind, numbers):
    return pytest.importorskip("numpy").array(numbers, kind)


PLACES = {
    "scalar": (lambda: scalar("float32", 27.392338), 27.392338),
    "array without dimensions": (lambda: array("float32", 27.392338), 27.392338),
    "array": (lambda: array("float32", [27.392338, -0.1]), [27.392338, -0.1]),
    "matrix": (lambda: array("float32", [[27.392338], [0.3]]), [[27.392338], [0.3]]),
    "list of scalars": (lambda: [scalar("float32", 27.392338), 0.1], [27.392338, 0.1]),
    "list of kinds": (lambda: [scalar("float32", 0.1), "b", array("float32", [0.1])], [0.1, "b", [0.1]]),
    "object": (lambda: {"b": {"c": scalar("float32", 0.1)}}, {"b": {"c": 0.1}}),
    "float16": (lambda: scalar("float16", 27.4), 27.4),
    "torch": (lambda: Torch([read(rounded(27.392338, "float32"), "float32")], "float32"), [27.392338]),
    "torch, bfloat16": (lambda: Torch(read(rounded(0.1, "bfloat16"), "bfloat16"), "bfloat16", ()), 0.1),
}


@pytest.mark.parametrize(("value", "expected"), PLACES.values(), ids=PLACES)
def test_numbers_have_the_digits_of_their_type(value, expected):
    assert json.dumps(cleaned(value())) == json.dumps(expected)


DOUBLE = 27.392337799072266  # that of float32(27.392338)
DOUBLES = {
    "float": lambda: DOUBLE,
    "list": lambda: [DOUBLE],
    "subclass": lambda: type("Float", (float,), {})(DOUBLE),
    "numpy": lambda: scalar("float64", DOUBLE),
    "array": lambda: array("float64", [DOUBLE]),
    "torch": lambda: Torch(DOUBLE, "float64", ()),
    "no dtype": lambda: type("Fraction", (), {"item": lambda _: DOUBLE})(),
}


@pytest.mark.parametrize("value", DOUBLES.values(), ids=DOUBLES)
def test_a_double_is_not_rounded(value):
    result = cleaned(value())
    assert result == ([DOUBLE] if type(result) is list else DOUBLE)


@pytest.mark.parametrize("number", [0.0, -0.0, 1.0, 16777217.0 * 2, 123456792.0, 2.0**100, 65504.0, 2.0**-20])
def test_whole_numbers_and_powers_of_two_stay_exact(number):
    assert repr(cleaned(Torch(number, "float32", ()))) == repr(number)
    assert type(cleaned(scalar("float32", number))) is float


def test_a_list_of_floats_stays_as_it_is():
    assert cleaned([0.1, DOUBLE, 3.0]) == [0.1, DOUBLE, 3.0]


@pytest.mark.parametrize("kind", ["float64", *FORMATS])
def test_a_number_that_is_not_finite_becomes_null(kind):
    cleaner = Cleaner()
    values = {"scalar": Torch(nan, kind, ()), "array": Torch([1.5, nan], kind)}
    if kind != "bfloat16":
        values |= {"numpy": scalar(kind, nan), "list": [scalar(kind, 1.5), scalar(kind, nan)]}
    for result in cleaner.object(values).values():
        assert result in (None, [1.5, None])
    assert len(cleaner.faults) == len(values)


class Raises:
    def __float__(self):
        raise RuntimeError

    item = tolist = __float__


@pytest.mark.parametrize("kind", FORMATS)
def test_another_class_with_the_name_of_a_type_does_no_harm(kind):
    cleaner = Cleaner()
    values = {"bad": type(kind, (Raises,), {})(), "worse": type(kind, (), {})(), "a": 1.5}
    assert cleaner.object(values) == {"a": 1.5}
    assert cleaner.faults.keys() == {"bad", "worse"}


def test_an_array_is_refused_before_its_digits_are_counted():
    numpy = pytest.importorskip("numpy")
    shape = (640, 480)
    cleaner = Cleaner()
    assert cleaner.object({"depth": numpy.zeros(shape, "float32")}) == {}
    assert (prod(shape) > MAX_ELEMENTS, cleaner.faults["depth"][0]) == (True, "image")
