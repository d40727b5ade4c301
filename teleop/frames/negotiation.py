from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer

from robots.api.renderers import JSONRenderer


class JSONLinesRenderer(BaseRenderer):
    """A media type to choose; the view streams it."""

    media_type = "application/x-ndjson"
    format = "jsonl"


class ParquetRenderer(BaseRenderer):
    media_type = "application/vnd.apache.parquet"
    format = "parquet"


RENDERERS = [JSONRenderer, JSONLinesRenderer, ParquetRenderer]  # who takes anything gets the first
FORMATS = [renderer.format for renderer in RENDERERS]


class FormatNegotiation(DefaultContentNegotiation):
    """`?format=` goes before the Accept header, as a link in a page can set no header."""

    def select_renderer(self, request, renderers, format_suffix=None):
        wanted = request.query_params.get("format")
        if wanted is None:
            return super().select_renderer(request, renderers, format_suffix)
        for renderer in renderers:
            if renderer.format == wanted:
                return renderer, renderer.media_type
        raise ValidationError({"format": [f"format is {wanted[:40]}; {', '.join(FORMATS)} expected"]})


class NegotiatedMixin:
    """For views that stream what is not JSON; their errors are JSON whatever was asked for."""

    content_negotiation_class = FormatNegotiation
    renderer_classes = RENDERERS

    def handle_exception(self, exc):
        self.request.accepted_renderer, self.request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return super().handle_exception(exc)
