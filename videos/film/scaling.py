"""Make pictures small and upright, as players show them."""

import struct
from fractions import Fraction

from av import VideoFrame
from av.filter import Graph
from av.sidedata.sidedata import Type

UPRIGHT = (1, 0, 0, 1)


class Scaler:
    """Turns each picture upright, and gives all the size of the first one, with square pixels and even sides.

    The longer side is at most `long_side`; a smaller picture keeps its size.
    """

    def __init__(self, first: VideoFrame, pixel_aspect: Fraction | None, long_side: int, pixel_format: str):
        a, b, c, d = self._matrix = _matrix_of(first)
        self._is_lying = abs(b) > abs(a)
        self._is_mirrored = (c < 0, b < 0) if self._is_lying else (a < 0, d < 0)
        width, height = first.width * (pixel_aspect or Fraction(1)), Fraction(first.height)
        if self._is_lying:
            width, height = height, width
        shrink = min(1, long_side / max(width, height))
        self.width, self.height = (max(2, round(side * shrink / 2) * 2) for side in (width, height))
        self.pixel_format = pixel_format
        self._input: tuple[int, int, str] | None = None
        self._graph: Graph | None = None

    def scale(self, picture: VideoFrame) -> VideoFrame:
        """Return the picture in its new form; it may be the same object."""
        seen = (picture.width, picture.height, picture.format.name)
        if seen != self._input:  # the first picture, or a film that changes on its way
            is_ready = (*seen, self._matrix) == (self.width, self.height, self.pixel_format, UPRIGHT)
            self._input, self._graph = seen, None if is_ready else self._filters(picture)
        if self._graph is None:
            return picture
        self._graph.vpush(picture)
        return self._graph.vpull()

    def _filters(self, picture: VideoFrame) -> Graph:
        size = f"{self.height}:{self.width}" if self._is_lying else f"{self.width}:{self.height}"
        graph = Graph()
        graph.threads = 1
        source = {"width": picture.width, "height": picture.height, "format": picture.format}
        nodes = [
            graph.add_buffer(**source, time_base=picture.time_base),
            graph.add("scale", f"{size}:flags=bilinear"),
            graph.add("format", self.pixel_format),
        ]
        if self._is_lying:
            nodes.append(graph.add("transpose", "cclock_flip"))  # x and y change places
        nodes += [graph.add(name) for name, does in zip(("hflip", "vflip"), self._is_mirrored, strict=True) if does]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph


def _matrix_of(picture: VideoFrame) -> tuple[int, int, int, int]:
    """Return (a, b, c, d) of the display matrix: a pixel at (x, y) is shown at (ax + cy, bx + dy).

    PyAV's side data and its picture refer to each other, and stay in memory until the next garbage collection.
    """
    matrix = picture.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d, *_ = (round(value / 2**16) for value in struct.unpack("9i", bytes(matrix)))
    return a, b, c, d
