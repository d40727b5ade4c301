from django.contrib.admin import ListFilter
from django.forms import ChoiceField
from rest_framework.exceptions import ValidationError


class Sidebar(ListFilter):
    """The filters of a REST list as one form beside the admin's: the same names and bounds, and no list of choices
    that grows with the tables.
    """

    title = "values"
    template = "admin/sidebar.html"

    def __init__(self, request, params, model, model_admin):
        super().__init__(request, params, model, model_admin)
        filterset_class = model_admin.filterset_class
        values = {name: params.pop(name)[-1] for name in filterset_class.base_filters if name in params}
        self.filterset = filterset_class({name: value for name, value in values.items() if value}, model.objects.none())
        self.form = self.filterset.form
        for name, field in self.form.fields.items():
            field.label = name.replace("_", " ").capitalize()
            field.widget.attrs["title"] = field.help_text
            if isinstance(field, ChoiceField):
                field.choices = [("", "any"), *[choice for choice in field.choices if choice[0]]]

    def has_output(self):
        return True

    def expected_parameters(self):
        return list(self.filterset.base_filters)

    def choices(self, changelist):
        """What the form has to keep of the query: search and order."""
        names = self.expected_parameters()
        return [{"name": name, "value": value} for name, value in changelist.params.items() if name not in names]

    def queryset(self, request, queryset):
        """Nothing where a value is refused: the form says why."""
        if not self.form.is_valid():
            return queryset.none()
        try:
            return self.filterset.filter_queryset(queryset)
        except ValidationError as error:
            for name, problems in error.detail.items():
                self.form.add_error(name, problems)
            return queryset.none()
