"""Cameras: pictures into films, films to the server, previews. Encoding needs PyAV, the extra `camera`."""
