from django.apps import AppConfig


class VideosConfig(AppConfig):
    name = "videos"

    def ready(self) -> None:
        from teleop.background.kinds import register  # here, as models are ready now
        from videos.background import POSTER, PROBE, PROXY

        register(PROBE, POSTER, PROXY)
