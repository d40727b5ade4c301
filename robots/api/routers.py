from rest_framework.routers import SimpleRouter


class Router(SimpleRouter):
    """Router of paths without a slash at the end; a slash works too, as a redirect would lose a POST's body."""

    def __init__(self):
        super().__init__()
        self.trailing_slash = "/?"
