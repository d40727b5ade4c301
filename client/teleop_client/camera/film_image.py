"""Tell images from other objects, and read their pixels. Images of numpy, torch and PIL; none of them is imported."""

import zlib
from typing import Any

# PyAV's names of the pixel formats, by the order of the colours and their number.
FORMATS = {
    "rgb": {1: "gray", 3: "rgb24", 4: "rgba"},
    "bgr": {1: "gray", 3: "bgr24", 4: "bgra"},
}
MIN_PIXELS, MAX_PIXELS = 16, 8192  # of a side
CHECKED_ROWS = 64  # one row of so many is in the checksum
_OF_PIL = {"L": 1, "RGB": 3, "RGBA": 4}
_EXPECTED = "an image of numpy, torch or PIL expected: uint8, of the shape HxW, HxWx3, HxWx4 or 3xHxW"


class ImageInvalid(ValueError):
    """The object is no image that can be recorded: a word for the reason, and a sentence."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def check(image: Any) -> None:
    """Raise ImageInvalid if the object is no image, without reading its pixels."""
    _layout(image)


def _layout(image: Any) -> tuple[int, bool]:
    """Return the number of colours, and whether they come before the rows, as in torch. Raise ImageInvalid."""
    if (shape := getattr(image, "shape", None)) is None:
        return _layout_of_pil(image), False
    if not _is_uint8(dtype := getattr(image, "dtype", None)):
        name = str(dtype).removeprefix("torch.")
        raise ImageInvalid("dtype", f"is an array of {name[:20]}; {_EXPECTED}")
    if len(shape) == 2:
        colours, is_planar = 1, False
    elif len(shape) == 3 and shape[2] in (1, 3, 4):
        colours, is_planar = int(shape[2]), False
    elif len(shape) == 3 and shape[0] in (1, 3, 4):
        colours, is_planar = int(shape[0]), True
    else:
        raise ImageInvalid("shape", f"has the shape {tuple(shape)[:6]}; {_EXPECTED}")
    _check_size(shape[1:] if is_planar else shape[:2])
    return colours, is_planar


def _is_uint8(dtype: Any) -> bool:
    if (kind := getattr(dtype, "kind", None)) is not None:  # the text of numpy's takes 0.07 ms in a robot's loop
        return bool(kind == "u" and dtype.itemsize == 1)
    return str(dtype) == "torch.uint8"


def _layout_of_pil(image: Any) -> int:
    mode, size = getattr(image, "mode", None), getattr(image, "size", None)
    if not isinstance(mode, str) or not isinstance(size, tuple):
        raise ImageInvalid("type", f"is {type(image).__name__}; {_EXPECTED}")
    if mode not in _OF_PIL:
        raise ImageInvalid("mode", f"is an image of PIL of the mode {mode[:10]}; RGB expected: convert('RGB')")
    _check_size(size)
    return _OF_PIL[mode]


def _check_size(sides: Any) -> None:
    if not MIN_PIXELS <= min(sides) <= max(sides) <= MAX_PIXELS:
        raise ImageInvalid("size", f"has {tuple(sides)} pixels; {MIN_PIXELS} to {MAX_PIXELS} on each side expected")


def copied(image: Any) -> Any:
    return image.clone() if hasattr(image, "clone") else image.copy()


def pixels(image: Any) -> Any:
    """Return the image as an array of numpy, HxW or HxWx3 or HxWx4, whose rows are contiguous. Raise ImageInvalid.

    It is a view where the image's layout allows it. The last row and column of an odd number are left out, as H.264
    with 4:2:0 has even sizes.
    """
    import numpy

    if hasattr(image, "detach"):  # a tensor, perhaps on a GPU
        image = image.detach().cpu()
    array = numpy.asarray(image)
    colours, is_planar = _layout(array)
    if is_planar:
        array = array.transpose(1, 2, 0)
    if colours == 1:
        array = array.reshape(array.shape[:2])
    array = array[: array.shape[0] // 2 * 2, : array.shape[1] // 2 * 2]
    inner = (1,) if colours == 1 else (colours, 1)
    if array.strides[1:] == inner and array.strides[0] >= array.shape[1] * colours:
        return array
    packed = numpy.empty(array.shape, numpy.uint8)
    for colour in range(colours) if colours > 1 else [...]:  # 7 times as fast as ascontiguousarray
        packed[..., colour] = array[..., colour]
    return packed


def checksum(array: Any) -> int:
    """Return a checksum of some rows of an array that `pixels` returned: 7 us for 640x480."""
    return zlib.adler32(array[::CHECKED_ROWS].tobytes())
