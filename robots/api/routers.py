from rest_framework.routers import SimpleRouter


class Router(SimpleRouter):
    """A path has no slash at its end; with one it works too, without a redirect, which would lose a POST's body."""

    def __init__(self):
        super().__init__()
        self.trailing_slash = "/?"
