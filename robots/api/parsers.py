import re

import orjson
from drf_orjson_renderer.parsers import ORJSONParser
from rest_framework.exceptions import ParseError

from robots.api.exceptions import TooLarge

MAX_BODY_BYTES = 2**20
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # behind an even number of backslashes


class StrictJSONParser(ORJSONParser):
    """JSON parser that accepts only storable values: orjson refuses NaN, Infinity and lone surrogates, this one NUL."""

    def parse(self, stream, media_type=None, parser_context=None):
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes, the maximum for JSON")
        try:
            value = orjson.loads(body)  # UTF-8 in spite of another charset, as JSON has no other
        except orjson.JSONDecodeError as error:
            raise ParseError(f"the body is not valid JSON: {error}") from None
        if NUL.search(body):
            raise ParseError("the body contains a NUL character, which cannot be stored")
        return value
