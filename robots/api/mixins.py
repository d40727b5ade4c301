from django.db import transaction
from django.shortcuts import get_object_or_404
from rest_framework.mixins import DestroyModelMixin

from robots import audit


class AuditedDestroyMixin(DestroyModelMixin):
    """Deletion with an entry in the audit log. The second of two requests to delete one object gets 404."""

    @transaction.atomic
    def perform_destroy(self, instance):
        get_object_or_404(type(instance).objects.select_for_update(), pk=instance.pk)
        audit.record(audit.actor_of(self.request), audit.Action.DELETED, [instance])
        instance.delete()
