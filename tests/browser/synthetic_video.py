"""Films of the two cameras on a simulated arm, made from its frames."""

import tempfile
from pathlib import Path

from teleop.simulation.pictures import CAMERAS, HEIGHT, WIDTH, Joints

FPS = 30


def film(camera: str, moments: list[Joints]) -> bytes:
    """Return an mp4 with a picture for each of the joints' positions, FPS a second."""
    import av

    file = tempfile.NamedTemporaryFile(suffix=".mp4")  # noqa: SIM115 - by its name, as the index moves by reading again
    with av.open(file.name, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "g": str(FPS)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, joints in enumerate(moments):
            frame = av.VideoFrame.from_ndarray(CAMERAS[camera](joints), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(file.name).read_bytes()
