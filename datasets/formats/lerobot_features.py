"""The features of a LeRobot dataset, as info.json, Parquet files and Hugging Face's `datasets` describe them."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from datasets.types import Feature, Layout

# Every dataset has these, after those of the robot.
INDEX_FEATURES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
ARROW_TYPES = {
    "float32": pa.float32(),
    "float64": pa.float64(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
}


def is_vector(feature: Feature) -> bool:
    """Tell whether its column has lists. LeRobot's readers want a plain value where the shape is [1]."""
    return len(feature.names or ()) > 1


def info_features(layout: Layout, videos: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return `features` of info.json. `videos` maps the key of a camera to its video_info."""
    robot = {
        feature.key: {
            "dtype": feature.dtype,
            "shape": [len(feature.names or "1")],
            "names": list(feature.names) if feature.names else None,
        }
        for feature in layout.features
    }
    cameras = {
        camera.key: {
            "dtype": "video",
            "shape": [camera.height, camera.width, 3],
            "names": ["height", "width", "channels"],
            "info": videos[camera.key],
        }
        for camera in layout.cameras
    }
    indexes = {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in INDEX_FEATURES.items()}
    return {**robot, **cameras, **indexes}


def arrow_schema(layout: Layout, list_type: str) -> pa.Schema:
    """Return the columns of a data file. `list_type` is the name that the readers' `datasets` package has for lists."""
    robot = [pa.field(feature.key, _arrow_type(feature)) for feature in layout.features]
    indexes = [pa.field(key, ARROW_TYPES[dtype]) for key, dtype in INDEX_FEATURES.items()]
    described = {feature.key: _described(feature, list_type) for feature in layout.features}
    described |= {key: _value(dtype) for key, dtype in INDEX_FEATURES.items()}
    return pa.schema(robot + indexes, {"huggingface": json.dumps({"info": {"features": described}})})


def arrow_column(feature: Feature, values: np.ndarray) -> pa.Array:
    """Return the values [length] or [length, n] as a column of a data file; numbers are not copied."""
    if is_vector(feature):
        flat = np.ascontiguousarray(values, np.dtype(feature.dtype)).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), len(feature.names or ()))
    return pa.array(values.reshape(-1), ARROW_TYPES[feature.dtype])


def _arrow_type(feature: Feature) -> pa.DataType:
    value = ARROW_TYPES[feature.dtype]
    return pa.list_(value, len(feature.names or ())) if is_vector(feature) else value


def _described(feature: Feature, list_type: str) -> dict[str, Any]:
    if not is_vector(feature):
        return _value(feature.dtype)
    return {"feature": _value(feature.dtype), "length": len(feature.names or ()), "_type": list_type}


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}
