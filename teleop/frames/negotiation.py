from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.views import APIView

from robots.api.renderers import JSONRenderer


class JSONLinesRenderer(BaseRenderer):
    """A media type for negotiation; the view streams the content itself."""

    media_type = "application/x-ndjson"
    format = "jsonl"


class ParquetRenderer(BaseRenderer):
    media_type = "application/vnd.apache.parquet"
    format = "parquet"


# A client that accepts any type gets the first.
RENDERERS: list[type[BaseRenderer]] = [JSONRenderer, JSONLinesRenderer, ParquetRenderer]
FORMATS = [renderer.format for renderer in RENDERERS]


class FormatNegotiation(DefaultContentNegotiation):
    """Negotiation in which `?format=` overrides the Accept header, as a link in a page cannot set a header."""

    def select_renderer(self, request, renderers, format_suffix=None):
        wanted = request.query_params.get("format")
        if wanted is None:
            return super().select_renderer(request, renderers, format_suffix)
        for renderer in renderers:
            if renderer.format == wanted:
                return renderer, renderer.media_type
        raise ValidationError({"format": [f"format is {wanted[:40]}; {', '.join(FORMATS)} expected"]})


class NegotiatedMixin(APIView):
    """Mixin for views that stream other formats than JSON; their errors are JSON in any format."""

    content_negotiation_class = FormatNegotiation
    renderer_classes = RENDERERS

    def handle_exception(self, exc):
        self.request.accepted_renderer, self.request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return super().handle_exception(exc)
