"""nginx with the deployed configuration, run natively."""

import os
import re
from pathlib import Path

import yaml

from tests.services import ROOT, Server, Service, is_ok

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SLOW_S = 2


class Nginx(Service):
    """Debian's nginx, with the configuration that docker-compose.yml mounts."""

    def __init__(self, folder: Path, server: Server, media: Path) -> None:
        super().__init__(folder)
        self.server = server
        self.url = f"http://127.0.0.1:{self.port}"
        upstream = f"127.0.0.1:{server.port}"
        values = COMPOSE["services"]["nginx"]["environment"] | {
            "LISTEN": f"127.0.0.1:{self.port}",
            "INGEST": upstream,
            "WEB": upstream,
            "MEDIA_ROOT": str(media),
            "TLS_CONF": f"{folder}/none/*.conf",
        }
        template = (ROOT / "deploy/nginx.conf.template").read_text().replace("10s; # a hand", f"{SLOW_S}s; # a hand")
        site = re.sub(r"\$\{(\w+)\}", lambda name: values[name[1]], template)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""
        main = f"{user} worker_processes 1; daemon off; pid {folder}/pid; error_log stderr; events {{}}"
        (folder / "nginx.conf").write_text(f"{main}\nhttp {{\n{folders}{site}\n}}")

    def command(self) -> list[str | Path]:
        return ["/usr/sbin/nginx", "-e", "stderr", "-p", self.folder, "-c", self.folder / "nginx.conf"]

    def answers(self) -> bool:
        return is_ok(f"{self.url}/health/live")
