from django import template

from teleop.monitoring.storage import Storage, stored

register = template.Library()


@register.simple_tag
def storage() -> Storage:
    return stored()
