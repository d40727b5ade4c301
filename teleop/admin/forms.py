from copy import deepcopy

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from rest_framework.exceptions import ValidationError

from robots.admin_tools import display
from robots.api.fields import check_meta
from teleop.api.serializers import MAX_OPERATOR, MetaChangesSerializer
from teleop.models import STAFF_LABELS, TeleopSession


class TaskForm(forms.Form):
    task = forms.CharField(widget=AdminTextInputWidget, max_length=500)


class LabelForm(forms.ModelForm):
    """A session's labels, with the shown values in hidden inputs.

    A user who saves a note does not overwrite a task that another user has changed meanwhile. If both users change the
    same label, the second one gets an error.
    """

    task = forms.CharField(widget=AdminTextInputWidget, max_length=500, strip=False, required=False)
    success = forms.NullBooleanField(required=False)
    tags = forms.CharField(
        widget=AdminTextareaWidget({"rows": 3}), strip=False, required=False, help_text="One tag per line."
    )
    operator = forms.CharField(
        widget=AdminTextInputWidget,
        max_length=MAX_OPERATOR,
        strip=False,
        required=False,
        help_text="The person who operated the robot.",
    )
    note = forms.CharField(widget=AdminTextareaWidget({"rows": 4}), strip=False, required=False)

    class Meta:
        model = TeleopSession
        fields = []

    def __init__(self, *args, instance, **kwargs):
        super().__init__(*args, instance=instance, **kwargs)
        for name in STAFF_LABELS:
            self.fields[name].show_hidden_initial = True
            self.initial[name] = self._shown(name, instance.labels[name])

    def _shown(self, name: str, value):
        """Return the value to show; a robot may have sent any type, which is shown as text."""
        if name == "success":
            return value if isinstance(value, bool) else None
        if name == "tags" and isinstance(value, list):
            return "\n".join(map(display.text, value))
        return "" if value is None else display.text(value)

    def clean(self):
        cleaned = super().clean()
        self.labels = {name: self._label(name, cleaned[name]) for name in self.changed_data if name in cleaned}
        for name in self.labels:
            if self._seen(name) != self._as_sent(self.initial[name]):
                self.add_error(
                    name,
                    "Someone else has changed this value since you opened the page; reload the page and try again.",
                )
        self._check(MetaChangesSerializer(data=self.labels))
        return cleaned

    def _check(self, changes: MetaChangesSerializer) -> None:
        """Add the errors with which REST would refuse these changes."""
        try:
            changes.is_valid(raise_exception=True)
            session = deepcopy(self.instance)
            session.merge_meta(self.labels, by_staff=True)
            check_meta(session.meta_info)
        except ValidationError as error:
            for name, problems in error.detail.items():
                self.add_error(name if name in self.fields else None, display.problems(problems))

    def _label(self, name: str, value):
        if name == "tags":
            return [tag for tag in value.splitlines() if tag.strip()] or None
        return value.replace("\r\n", "\n") or None if isinstance(value, str) else value

    def _seen(self, name: str) -> str:
        return self._as_sent(self.data.get(self.add_initial_prefix(name)))

    @staticmethod
    def _as_sent(value) -> str:
        return "" if value is None else str(value).replace("\r\n", "\n")
