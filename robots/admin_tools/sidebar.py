from django.contrib.admin import ListFilter
from django.forms import ChoiceField
from rest_framework.exceptions import ValidationError


class Sidebar(ListFilter):
    """Form beside the admin's list, with all filters of the REST list.

    The names and bounds are the same, and no list of choices grows with the tables.
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
        """Return the parameters of the query that the form has to keep: search and order."""
        names = self.expected_parameters()
        return [{"name": name, "value": value} for name, value in changelist.params.items() if name not in names]

    def queryset(self, request, queryset):
        """Filter the rows; return none if a value is refused, as the form then shows the reason."""
        if not self.form.is_valid():
            return queryset.none()
        try:
            return self.filterset.filter_queryset(queryset)
        except ValidationError as error:
            for name, problems in error.detail.items():
                self.form.add_error(name, problems)
            return queryset.none()
