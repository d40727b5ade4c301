"""`manage.py erase_person` and saved filters: those of the person are deleted, and those of others are listed."""

import io

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from teleop.models import SavedFilter

pytestmark = pytest.mark.django_db


def test_it_deletes_the_persons_filters_and_lists_those_with_the_name():
    person, other = User.objects.create_user("ada"), User.objects.create_user("eva")
    SavedFilter.objects.create(user=person, name="mine", query="success=false")
    kept = SavedFilter.objects.create(user=other, name="by Ada", query="operator=Ada+L%C3%B6w")
    SavedFilter.objects.create(user=other, name="all", query="")
    printed = io.StringIO()
    call_command("erase_person", "ada", "--operator", "Ada Löw", "--yes", stdout=printed)
    assert "  1 saved filters\n" in printed.getvalue()
    assert f"still contains this name in saved filters {kept.pk}." in printed.getvalue()
    assert set(SavedFilter.objects.values_list("name", flat=True)) == {"by Ada", "all"}
