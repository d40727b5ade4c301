import orjson
from drf_orjson_renderer.renderers import ORJSONRenderer
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer as StandardJSONRenderer


class Negotiation(DefaultContentNegotiation):
    """DRF's content negotiation. If there is no choice, it does not parse the Accept header, which takes 30 us."""

    def select_renderer(self, request, renderers, format_suffix=None):
        if len(renderers) == 1 and request.headers.get("Accept", "*/*") == "*/*":
            return renderers[0], renderers[0].media_type
        return super().select_renderer(request, renderers, format_suffix)


class JSONRenderer(ORJSONRenderer):
    """JSON renderer with orjson, and with the standard library for values that orjson does not write.

    These are nesting past 254 levels and integers past 64 bits: a robot's meta_info may hold both, and one such session
    must not make the list unreadable.
    """

    options = ORJSONRenderer.options | orjson.OPT_UTC_Z

    def render(self, data, media_type=None, renderer_context=None):
        try:
            return super().render(data, media_type, renderer_context)
        except TypeError:
            return StandardJSONRenderer().render(data, renderer_context=renderer_context)
