from django.db import transaction
from django.shortcuts import get_object_or_404
from rest_framework.mixins import DestroyModelMixin, ListModelMixin

from robots import audit


class AuditedDestroyMixin(DestroyModelMixin):
    """Deletion with an entry in the audit log. The second of two requests to delete one object gets 404."""

    @transaction.atomic
    def perform_destroy(self, instance):
        get_object_or_404(type(instance).objects.select_for_update(), pk=instance.pk)
        audit.record(audit.actor_of(self.request), audit.Action.DELETED, [instance])
        instance.delete()


class ListMixin(ListModelMixin):
    """A list whose rows are freed once they are written.

    DRF's ListSerializer holds the rows and refers to itself, so they would stay until Python searches for cycles.
    """

    def list(self, request, *args, **kwargs):
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        show = self.get_serializer().to_representation
        return self.get_paginated_response([show(row) for row in rows])
