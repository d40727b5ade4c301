from django import forms
from django.contrib.auth.models import Group, User

from robots.accounts import roles


class NewPersonForm(forms.ModelForm):
    """Form for a person with a role. The person sets the password, with a one-time link."""

    may_add_administrators = False
    role = forms.ChoiceField(widget=forms.RadioSelect, initial="viewer")

    class Meta:
        model = User
        fields = ["username"]

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.fields["role"].choices = roles.choices(self.may_add_administrators)

    def clean_username(self):
        """Refuse a name that differs only in case, as people do not distinguish these."""
        username = self.cleaned_data["username"]
        if found := User.objects.filter(username__iexact=username).first():
            raise forms.ValidationError(f'username is "{username}"; the person "{found}" exists already')
        return username

    def save(self, commit=True):
        self.instance.set_unusable_password()
        self.instance.is_staff = self.instance.is_superuser = self.cleaned_data["role"] == roles.ADMINISTRATOR
        return super().save(commit)

    def _save_m2m(self):
        super()._save_m2m()
        self.instance.groups.set(Group.objects.filter(name=self.cleaned_data["role"]))
