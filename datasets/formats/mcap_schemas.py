"""JSON schemas of the messages in an MCAP file. Foxglove recognizes the first and the last by their titles."""

from typing import Any

NUMBER, TEXT, INTEGER = {"type": "number"}, {"type": "string"}, {"type": "integer"}


def _object(title: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "title": title, "properties": properties}


def _pairs(title: str, name: str, item: str, kind: dict[str, str]) -> dict[str, Any]:
    items = {"type": "object", "properties": {"label": TEXT, item: kind}}
    return _object(title, **{name: {"type": "array", "items": items}})


SCALARS = _pairs("lerobot.Scalars", "scalars", "value", NUMBER)
TEXTS = _pairs("teleop.Texts", "texts", "text", TEXT)
EVENT = _object("teleop.Event", event_id=TEXT, kind=TEXT, detail={"type": "object"})
COMPRESSED_VIDEO = _object(
    "foxglove.CompressedVideo",
    timestamp=_object("time", sec=INTEGER, nsec=INTEGER),
    frame_id=TEXT,
    data={"type": "string", "contentEncoding": "base64"},
    format=TEXT,
)
