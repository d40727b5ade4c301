import io
import json

from django import forms
from rest_framework.exceptions import APIException

from robots.api.fields import check_meta
from robots.api.parsers import StrictJSONParser
from robots.models import Robot


class StrictDecoder(json.JSONDecoder):
    """JSON decoder with the rules of REST, as Python's own decoder accepts values that cannot be stored."""

    def decode(self, text):
        try:
            return StrictJSONParser().parse(io.BytesIO(text.encode()))
        except APIException as error:
            raise json.JSONDecodeError(str(error), text, 0) from None


class RobotForm(forms.ModelForm):
    meta_info = forms.JSONField(decoder=StrictDecoder, required=False)

    class Meta:
        model = Robot
        fields = ["id", "name", "robot_type", "meta_info"]
        help_texts = {
            "id": "For addresses and programs, such as so101-left. It cannot be changed later.",
            "name": "For people; it may be empty.",
        }

    def clean_meta_info(self):
        value = self.cleaned_data["meta_info"]
        if value is not None and not isinstance(value, dict):
            raise forms.ValidationError("Enter a JSON object.")
        try:
            return value and check_meta(value)
        except APIException as error:
            raise forms.ValidationError(error.detail["meta_info"]) from None
