import re
from collections.abc import Mapping, Sequence

from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR, ChangeList
from django.urls import reverse

from teleop.api.filters import SessionFilter, TrashFilter
from teleop.models import TeleopFrame

NUMBER_OF_A_COLUMN = re.compile(r"-?[0-9]{1,3}")
# The orders of GET /sessions, by column and direction. If the list has another order, the replay's is newest first.
ORDERS = {("started", "asc"): "oldest", ("duration", "asc"): "shortest", ("duration", "desc"): "longest"}


class SessionChangeList(ChangeList):
    def get_results(self, request):
        """Read the cameras of the page's sessions in one query; the property would take one query per session."""
        super().get_results(request)
        self.result_list = self.result_list.with_cameras()
        query = query_of_replay(request.GET, self.list_display)
        for session in self.result_list:
            session.list_query = query
        is_exportable = not self.query and not shows_trash(request) and may_export(request)
        self.export_url = export_url(filters_of(request)) if is_exportable else None


def query_of_replay(parameters: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """Return the filters, the search and the order of the list by their names in GET /sessions."""
    query = {name: value for name, value in parameters.items() if name in TrashFilter.base_filters and value}
    if words := parameters.get(SEARCH_VAR):
        query["search"] = f"{query.get('search', '')} {words}".strip()
    first = parameters.get(ORDER_VAR, "").partition(".")[0]
    if NUMBER_OF_A_COLUMN.fullmatch(first):
        column = dict(enumerate(columns)).get(int(first.removeprefix("-")))
        if order := ORDERS.get((column, "desc" if first.startswith("-") else "asc")):
            query["ordering"] = order
    return query


def may_export(request) -> bool:
    return request.user.has_perm("datasets.add_export")


def shows_trash(request) -> bool:
    return request.GET.get("trash") == "true"


def filters_of(request) -> dict[str, str]:
    """Return the filters of the request's address that GET /sessions has too."""
    return {name: value for name, value in request.GET.items() if name in SessionFilter.base_filters and value}


def export_url(selection: dict[str, str]) -> str:
    """Return the address of the page that exports these sessions, by filters or as a list of ids, `sessions`."""
    return reverse("new-export", query=selection)


class FrameChangeList(ChangeList):
    """Keyset pages: rows are neither counted nor skipped, so that the last page is as quick as the first.

    The frames of one session are ordered by frame_index, ascending; the frames of all sessions by id, descending.
    """

    @property
    def _of_session(self) -> bool:
        return bool(self.filter_params.get("session"))

    def get_ordering(self, request, queryset):
        """Order by exactly one index; Django would add the primary key, and the database would sort the session."""
        return ["frame_index"] if self._of_session else ["-pk"]

    def get_results(self, request):
        page = list(self.queryset[: self.list_per_page + 1])
        self.result_list = page[: self.list_per_page]
        self.result_count, self.full_result_count = len(self.result_list), None
        self.can_show_all = self.multi_page = False
        self.paginator = None
        if self.filter_params.keys() & {"from_index", "max_id"}:
            self.first_page = self.get_query_string(remove=["from_index", "max_id"])
        if len(page) > self.list_per_page and self._of_session:
            next_index = TeleopFrame.objects.of_session(page[-1].session_id).next_index()
            self.next_page = self.get_query_string({"from_index": page[-1].frame_index})
            self.last_page = self.get_query_string({"from_index": next_index - self.list_per_page})
        elif len(page) > self.list_per_page:
            self.next_page = self.get_query_string({"max_id": page[-1].pk})
