from django.db import migrations, models
from django.db.models import Q

from robots.concurrent_index import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("videos", "0002_film_facts")]
    operations = [
        AddIndexConcurrently("videochunk", models.Index(fields=["id"], condition=condition, name=name))
        for name, condition in (
            ("videos_to_probe", Q(duration_s=None)),
            ("videos_without_poster", Q(poster_size=None, duration_s__isnull=False)),
            ("videos_without_proxy", Q(proxy_size=None, duration_s__isnull=False)),
        )
    ]
