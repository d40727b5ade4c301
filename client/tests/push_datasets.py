"""Change copies of the data sets that LeRobot itself has written."""

import json
import math

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from push_fixtures import FPS, LENGTHS

ROWS = sum(LENGTHS)
CAMERAS = ("observation.images.front", "observation.images.wrist")
DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
FRONT = "videos/observation.images.front/chunk-000/file-000.mp4"
V21_DATA = "data/chunk-000/episode_{:06d}.parquet"
V21_FRONT = "videos/chunk-000/observation.images.front/episode_{:06d}.mp4"


def write_grey_film(path, greys, keys=2):
    """Write a film of grey pictures; one of `keys` pictures is a key frame."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", FPS, options={"g": str(keys), "bf": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for grey in greys:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), "rgb24")))
        film.mux(stream.encode(None))


def joints(episode, frame_index):
    """Return the joints that the data sets have by their formula: observation and action."""
    t = frame_index / FPS
    values = [30 * math.sin(t), -20 * math.cos(t), 10 * t, 5 * episode, -t, 50 + 40 * math.sin(2 * t)]
    observation = np.array(values, np.float32)
    return observation, observation + np.float32(0.5)


def edit_info(root, **changes):
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_features(root, **features):
    """Add features, or replace them; dots are written as two underscores."""
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"] |= {key.replace("__", "."): feature for key, feature in features.items()}
    path.write_text(json.dumps(info))


def feature(dtype="float32", shape=(1,), names=None, **more):
    return {"dtype": dtype, "shape": list(shape), "names": names} | more


def edit_table(path, group_rows=None, **columns):
    """Replace columns of a Parquet file, or add them; `group_rows` are those of each of its row groups."""
    with pq.ParquetFile(path) as file:
        groups = group_rows or [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        table = file.read()
    for name, values in columns.items():
        key = name.replace("__", ".")
        column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
        place = table.schema.get_field_index(key)
        table = table.append_column(key, column) if place < 0 else table.set_column(place, key, column)
    with pq.ParquetWriter(path, table.schema) as writer:
        begin = 0
        for rows in groups:
            writer.write_table(table.slice(begin, rows))
            begin += rows
