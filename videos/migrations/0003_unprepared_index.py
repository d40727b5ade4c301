from django.db import migrations, models
from django.db.models import Q

from robots.concurrent_index import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("videos", "0002_film_facts")]
    operations = [
        AddIndexConcurrently(
            "videochunk",
            models.Index(
                fields=["id"],
                condition=Q(duration_s=None) | Q(poster_size=None) | Q(proxy_size=None),
                name="videos_unprepared",
            ),
        )
    ]
