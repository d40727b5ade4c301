#!/usr/bin/env bash
# Run the server on SQLite with three simulated robots, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH="$PWD/.venv/bin:$PATH" DEBUG=1 DATABASE_URL=sqlite:///db.sqlite3
unset REDIS_URL
port=${PORT:-8000}
url=http://127.0.0.1:$port

in_use() { (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

if in_use; then
    echo "port $port is in use; choose another one, for example PORT=$((port + 1)) make demo" >&2
    exit 1
fi

ends_with_us=(setpriv --pdeathsig TERM) # ends the processes even if this script is killed

# The robots must end their sessions before the server stops, so setsid keeps Ctrl-C away from the server.
stop() {
    for pid in ${robots:-} ${server:-}; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" || true
    done
}
trap stop EXIT
trap 'exit 0' INT TERM HUP

python manage.py migrate --verbosity 0
password=${DEMO_PASSWORD:-$(python -c 'import secrets; print(secrets.token_urlsafe(9))')}
PASSWORD=$password python manage.py shell --verbosity 0 --command '
import os
from django.contrib.auth.models import User
admin, _ = User.objects.get_or_create(username="admin", defaults={"is_staff": True, "is_superuser": True})
admin.set_password(os.environ["PASSWORD"])
admin.save()'

setsid "${ends_with_us[@]}" python manage.py serve --port "$port" &
server=$!
until in_use; do
    kill -0 $server 2>/dev/null || exit 1
    sleep 0.1
done
"${ends_with_us[@]}" python manage.py simulate --robots 3 --fps 60 --cameras 2 --url "$url" &
robots=$!

cat <<EOF

    $url/          live fleet page: user admin, password $password
    $url/review    sessions to replay and label
    $url/docs      the REST API
    $url/health
    ws://127.0.0.1:$port/ws/log/<robot_id>    address for robots, with any id

    Three simulated robots are streaming, the first with two cameras. Ctrl-C ends the robots and the server.

EOF
wait -n
