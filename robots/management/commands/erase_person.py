import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote_plus

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management.base import CommandError
from django.db import models, transaction
from django.db.models import Q
from rest_framework.authtoken.models import Token

from robots import audit
from robots.management.base import FormatCheckedCommand
from robots.models import AuditEntry, Robot

REMOVED = "removed user"
BATCH_ROWS = 200  # each row has up to 64 KiB of meta_info
MOST_NAMED = 10


class Command(FormatCheckedCommand):
    help = (
        "Erases a person: the account with its tokens and logins, and the name in marks and audit entries. Labels, "
        f"marks and entries stay, with {REMOVED!r} in place of the name. Free text, such as a note, is not changed; "
        "the command lists where it still contains the name. Logs and backups are not changed."
    )

    def add_arguments(self, parser):
        parser.add_argument("name", nargs="?", default="", help="username; the account may already be deleted")
        parser.add_argument("--operator", default="", metavar="TEXT", help="operator in meta_info, as robots send it")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def handle(self, *args, name, operator, yes, **options):
        if not name and not operator:
            raise CommandError("no person was named; NAME, --operator TEXT or both expected")
        if REMOVED in (name, operator):
            raise CommandError(f"{REMOVED!r} replaces the names of all erased persons; another name expected")
        erasure = Erasure(name, operator)
        found = erasure.count()
        if not found:
            raise CommandError(_not_found(name, operator))
        self._show("To be erased", found)
        if not yes and not self._confirmed():
            raise CommandError("cancelled; nothing was changed")
        self._show("Erased", erasure.run())
        self._show_mentions(erasure.texts)

    def _show(self, title: str, counts: Counter) -> None:
        self.stdout.write(f"{title}:")
        for what, count in counts.items():
            self.stdout.write(f"  {count} {what}")

    def _confirmed(self) -> bool:
        try:
            return input("This cannot be undone. Type yes to continue: ").strip() == "yes"
        except EOFError:
            raise CommandError("no terminal to ask for confirmation, so nothing was changed; --yes expected") from None

    def _show_mentions(self, texts: set[str]) -> None:
        for what, rows in (
            ("sessions", _sessions().filter(_contains("meta_info", texts))),
            ("robots", Robot.objects.filter(_contains("meta_info", texts) | _contains("name", texts))),
            ("audit entries", AuditEntry.objects.filter(_contains("changes", texts))),
            ("exports", _exports().filter(_contains("manifest", texts) | _contains("where", texts))),
            ("saved filters", _saved_filters().filter(_contains("name", texts) | _queries_for(texts))),
        ):
            ids = list(map(str, rows.order_by("pk").values_list("pk", flat=True)[: MOST_NAMED + 1]))
            if ids:
                more = " and more" if len(ids) > MOST_NAMED else ""
                self.stdout.write(f"Free text still contains this name in {what} {', '.join(ids[:MOST_NAMED])}{more}.")


class Erasure:
    """Stored data of one person. count() and run() process the same rows, in batches."""

    def __init__(self, name: str, operator: str):
        user = User.objects.filter(username=name).first() if name else None
        self.user_id = user and user.pk
        self.operator = operator
        self.names = {name} if name else set()
        if user:  # also the account's earlier usernames, unless another account has that username now
            earlier = set(AuditEntry.objects.filter(user=user).values_list("actor", flat=True).distinct())
            others = User.objects.filter(username__in=earlier).exclude(pk=user.pk)
            self.names |= earlier - set(others.values_list("username", flat=True))
        self.texts = self.names | ({operator} if operator else set())

    def count(self) -> Counter:
        return self._go_through(dry=True)

    def run(self) -> Counter:
        """Erase in two passes, as a request that had passed its login may write the name during the first pass."""
        counts = Counter()
        for _ in range(2):
            with transaction.atomic():
                found = self._go_through(dry=False)
                counts += found
                if found:
                    changes = {what: [count, 0] for what, count in found.items()}
                    actor = audit.command("erase_person")
                    audit.record(actor, audit.Action.ERASED, [User(pk=self.user_id, username=REMOVED)], changes)
        return counts

    def _go_through(self, dry: bool) -> Counter:
        counts = Counter()
        counts["audit entries"] = self._rewrite(
            AuditEntry.objects.filter(self._of_person()),
            self._rewritten_entry,
            ("actor", "object_repr", "changes"),
            dry,
        )
        if self.user_id:
            counts += self._erase_account(dry)
        created = _exports().filter(created_by__in=self.names)
        counts["exports that the person created"] = created.count() if dry else created.update(created_by=REMOVED)
        # These rows come last, as robots' heartbeats skip rows that are locked, and the locks last until the commit.
        for what, rows, also in (
            ("sessions with the name in meta_info", _sessions(), "updated_at = {now}"),
            ("robots with the name in meta_info", Robot.objects.all(), ""),
        ):
            named = rows.filter(_contains("meta_info", self.texts))
            counts[what] = self._rewrite(named, self._rewritten_meta, ("meta_info",), dry, also)
        return +counts

    def _rewrite(
        self, rows: models.QuerySet, rewritten: Callable[..., tuple], columns: tuple, dry: bool, also: str = ""
    ) -> int:
        """Change the rows for which `rewritten` returns other values of these columns; return the number of rows."""
        count = 0
        if not dry:
            rows = rows.select_for_update(no_key=True)  # inserts of a robot's frames do not wait
        for batch in _batches(rows):
            changed = [
                (row.pk, *values)
                for row in batch
                if (values := rewritten(row)) != tuple(getattr(row, name) for name in columns)
            ]
            count += len(changed)
            if not dry:
                rows.model.objects.update_each(columns, changed, also)
        return count

    def _of_person(self) -> Q:
        tokens = [f"token of {name}" for name in self.names]
        return (
            Q(actor_type=audit.ActorType.PERSON, actor__in=self.names)
            | Q(user__isnull=False, user=self.user_id)
            | Q(model="auth.user", object_repr__in=self.names)
            | Q(model="authtoken.token", object_repr__in=tokens)
            | Q(model__in=["auth.user", "authtoken.token"], object_id=str(self.user_id))
            | _contains("changes", self.texts)
        )

    def _rewritten_entry(self, entry: AuditEntry) -> tuple[str, str, dict]:
        by_person = entry.actor_type == audit.ActorType.PERSON
        is_actor = by_person and (entry.actor in self.names or (entry.user_id and entry.user_id == self.user_id))
        is_object = entry.model in ("auth.user", "authtoken.token") and (
            entry.object_id == str(self.user_id) or entry.object_repr.removeprefix("token of ") in self.names
        )
        actor = REMOVED if is_actor else entry.actor
        if is_object:
            # The values of an account are personal data: name, mail address, when the account existed.
            return actor, REMOVED, entry.changes if entry.action == audit.Action.ERASED else {}
        return actor, entry.object_repr, self._rewritten_changes(entry.changes)

    def _rewritten_changes(self, changes: dict) -> dict:
        """Rewrite `{"meta_info.operator": [before, after]}` and similar changes as meta_info itself is rewritten."""
        prefix = "meta_info."
        return {
            name: [self._renamed({name.removeprefix(prefix): value})[name.removeprefix(prefix)] for value in values]
            for name, values in changes.items()
        }

    def _rewritten_meta(self, row) -> tuple:
        return (self._renamed(row.meta_info),)

    def _renamed(self, value: Any) -> Any:
        """Return the value with the name replaced where it stands for the person: `by` of a mark, and `operator`."""
        match value:
            case dict():
                return {
                    key: REMOVED if each and self._is_name(key, each) else self._renamed(each)
                    for key, each in value.items()
                }
            case list():
                return [self._renamed(each) for each in value]
        return value

    def _is_name(self, key: str, value: Any) -> bool:
        if key == "marks" and isinstance(value, str):  # an entry holds the beginning of a long value, as text
            return any(json.dumps(name, ensure_ascii=False) in value for name in self.names)
        return (key == "by" and value in list(self.names)) or (key == "operator" and value == self.operator)

    def _erase_account(self, dry: bool) -> Counter:
        log = LogEntry.objects.filter(user=self.user_id)
        about = LogEntry.objects.filter(content_type__app_label="auth", content_type__model="user")
        about = about.filter(object_id=str(self.user_id)).exclude(user=self.user_id)
        counts = Counter(
            {
                "accounts": User.objects.filter(pk=self.user_id).count(),
                "tokens": Token.objects.filter(user=self.user_id).count(),
                "saved filters": _saved_filters().filter(user=self.user_id).count(),
                "entries of the admin's earlier log": log.count() + about.exclude(object_repr=REMOVED).count(),
            }
        )
        for batch in _batches(Session.objects.all()):
            keys = [row.pk for row in batch if row.get_decoded().get(SESSION_KEY) == str(self.user_id)]
            counts["logins"] += len(keys)
            if not dry:
                Session.objects.filter(pk__in=keys).delete()
        if not dry:
            about.update(object_repr=REMOVED, change_message="")
            for user in User.objects.filter(pk=self.user_id):
                user.delete()  # with tokens, saved filters and `log`; audit entries lose their link to the user
        return +counts


def _sessions() -> models.QuerySet:
    return apps.get_model("teleop", "TeleopSession").objects.all()


def _exports() -> models.QuerySet:
    return apps.get_model("datasets", "Export").objects.all()


def _saved_filters() -> models.QuerySet:
    return apps.get_model("teleop", "SavedFilter").objects.all()


def _queries_for(texts: Iterable[str]) -> Q:
    """Match saved filters that have one of these texts, as it is written in an address."""
    found = Q(pk__in=[])
    for text in texts:
        found |= Q(query__icontains=quote_plus(text))
    return found


def _batches(rows: models.QuerySet) -> Iterator[list]:
    """Yield the rows in batches by primary key: a server-side cursor would need its own connection behind a pool."""
    rows = rows.order_by("pk")
    batch = list(rows[:BATCH_ROWS])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1].pk)[:BATCH_ROWS])


def _contains(field: str, texts: Iterable[str]) -> Q:
    """Match JSON that has one of these texts; SQLite stores JSON with escapes, PostgreSQL without most of them."""
    forms = {form for text in texts for form in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])}
    found = Q(pk__in=[])
    for form in forms:
        found |= Q(**{f"{field}__icontains": form})
    return found


def _not_found(name: str, operator: str) -> str:
    similar = User.objects.filter(username__icontains=name).order_by("username") if name else User.objects.none()
    names = ", ".join(similar.values_list("username", flat=True)[:MOST_NAMED])
    return (
        f"no data found for {' or '.join(repr(each) for each in (name, operator) if each)}; a username from "
        f"/admin/auth/user/ or a person from /admin/robots/auditentry/ expected{names and f' (similar: {names})'}"
    )
