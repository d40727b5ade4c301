"""Write the pictures of one camera into the films of a dataset."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from av.packet import Packet

from datasets.films.copying import Part, parts_of
from datasets.films.encoder import Form, Header, encode, is_compatible, sets_of
from datasets.films.index import index_of
from datasets.films.notes import EpisodeNotes
from datasets.films.output import OutputFilm, form_of
from datasets.films.reader import CameraReader
from datasets.films.span import FilmSpan
from datasets.types import Camera

__all__ = ["FilmSpan", "FilmWriter"]
ROWS_AT_ONCE = 300  # the most that one call of `on_rows` reports


class FilmWriter:
    """Writes one camera's episodes behind each other into films of at most about `max_file_bytes`.

    It may be used by one thread at a time. FFmpeg works without Python's lock, so several writers run in parallel.
    `on_rows` is called in that thread, while an episode is written and at its end, with the number of rows written
    since the last call: at most ROWS_AT_ONCE. What it raises ends the writing.
    """

    def __init__(
        self,
        fps: int,
        path_of: Callable[[int], Path],
        codec: str = "h264",
        max_file_bytes: int | None = None,
        one_per_episode: bool = False,
        on_rows: Callable[[int], None] = lambda rows: None,
    ):
        self._fps, self._path_of, self._codec = fps, path_of, codec
        self._max_bytes = 0 if one_per_episode else max_file_bytes
        self._on_rows, self._untold = on_rows, 0
        self._files = 0
        self._headers: dict[tuple, Header] = {}
        self._output: OutputFilm | None = None

    def add(self, camera: Camera, positions: np.ndarray) -> FilmSpan:
        """Append an episode: one row for each of `positions`, which are positions in camera.times_us, ascending.

        Raises Refused if a picture cannot be decoded or has another size than those before it, and OSError.
        """
        positions = np.asarray(positions, np.int64)
        notes = EpisodeNotes(camera, positions)
        with CameraReader(camera) as reader:
            form = Form(next(reader.pictures(positions[:1]))[1])
            header = self._header(form)
            parts, sets = self._choose(camera, positions, header)
            copied = [part for part in parts if part.is_copied]
            template = reader.template(positions[copied[0].rows.start]) if copied else header.stream
            output = self._opened(template, sets, header)
            first_row = output.rows
            for part in parts:
                if part.is_copied:
                    packets = reader.packets(positions[part.rows])
                else:
                    packets = encode(self._codec, self._fps, form, notes.watch(part.rows, reader))
                output.append(self._counted(packets))
            self._tell()
            notes.look_at_copies(copied, reader)
        length, copied_rows = output.rows - first_row, sum(part.length for part in copied)
        if length != len(positions):
            raise RuntimeError(f"{camera.key}: the encoder gave {length} pictures for {len(positions)} rows")
        return FilmSpan(
            output.number, first_row, length, copied_rows == length, copied_rows, notes.stats, notes.warnings
        )

    def close(self) -> None:
        """Finish the last film. It does nothing the second time."""
        if self._output:
            self._output.close()
            self._output = None

    def _counted(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """Yield the packets, and tell of those that the film has."""
        for packet in packets:
            yield packet
            self._untold += 1
            if self._untold == ROWS_AT_ONCE:
                self._tell()

    def _tell(self) -> None:
        rows, self._untold = self._untold, 0
        if rows:
            self._on_rows(rows)

    def _header(self, form: Form) -> Header:
        if form.key not in self._headers:
            self._headers[form.key] = Header(self._codec, self._fps, form)
        return self._headers[form.key]

    def _choose(self, camera: Camera, positions: np.ndarray, header: Header) -> tuple[list[Part], frozenset[bytes]]:
        """Return the parts of the episode, and the sets that a decoder needs for all of them in one film."""
        parts = parts_of(camera, positions, self._codec)
        films = {camera.films[number] for part in parts if part.is_copied for number in _films(camera, positions, part)}
        sets = {each for film in films for each in sets_of(self._codec, index_of(film).extradata)}
        if not all(part.is_copied for part in parts):
            sets |= header.sets
        if not is_compatible(sets, self._codec):
            return [Part(slice(0, len(positions)), False)], header.sets
        return parts, frozenset(sets)

    def _opened(self, template: av.VideoStream, sets: frozenset[bytes], header: Header) -> OutputFilm:
        """Return the film to append to: the one before, unless it is full or was begun for other packets."""
        output = self._output
        is_full = output and self._max_bytes is not None and output.size_bytes >= self._max_bytes
        if output and not is_full and output.form == form_of(template) and sets <= output.sets:
            return output
        self.close()
        all_sets = sets | header.sets  # then an episode that is partly copied fits behind one that is not, and so on
        if is_compatible(all_sets, self._codec):
            sets = all_sets
        self._output = OutputFilm(self._path_of(self._files), self._files, self._fps, template, sets)
        self._files += 1
        return self._output


def _films(camera: Camera, positions: np.ndarray, part: Part) -> list[int]:
    return np.unique(camera.film_numbers[positions[part.rows]]).tolist()
