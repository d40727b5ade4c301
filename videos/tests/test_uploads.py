"""POST /videos: what is stored, and where."""

import hashlib
import re

import pytest

from videos.models import VideoChunk
from videos.tests.films import START, files, film, form, upload

pytestmark = pytest.mark.django_db


def test_an_upload_is_stored_as_it_came(arm, session, media):
    answer = upload(arm, session)
    assert answer.status_code == 201, answer.json()
    chunk = VideoChunk.objects.get()
    assert (chunk.session, chunk.robot_id, chunk.camera_key) == (session, "arm", "front")
    assert (chunk.start_timestamp, chunk.end_timestamp) == (START, START + 1)
    assert (media / chunk.file_path.name).read_bytes() == film()
    assert (chunk.size, chunk.sha256) == (len(film()), hashlib.sha256(film()).hexdigest())
