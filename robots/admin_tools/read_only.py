from django.contrib import admin

from robots.admin_tools.sidebar import Sidebar


class ReadOnlyAdmin(admin.ModelAdmin):
    """List and pages of rows that cannot be added, changed or deleted, with the filters of a Sidebar.

    The table may be large: the list is not sorted by other columns, and the rows are counted once.
    """

    list_filter = [Sidebar]
    sortable_by = []
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
