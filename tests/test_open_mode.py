"""ROBOT_AUTH=open: the possible actions of an unknown client on the network."""

import json

import pytest
from django.core.management import CommandError
from websockets.exceptions import InvalidStatus

from robots.models import Robot
from teleop.management.commands import serve
from tests.robot_socket import bystander, robot_socket

pytestmark = pytest.mark.once

LOCAL, NETWORK = ["localhost", "127.0.0.1"], ["*"]


@pytest.mark.parametrize(
    "address, hosts, printed",
    [
        ("192.0.2.7", LOCAL, "the address is 192.0.2.7"),
        ("0.0.0.0", LOCAL, "the address is 0.0.0.0"),
        ("::", LOCAL, "the address is ::"),
        ("fe80::1%eth0", LOCAL, "the address is fe80::1%eth0"),
        ("127.0.0.1", NETWORK, "ALLOWED_HOSTS is *"),
        ("127.0.0.1", [*LOCAL, "*"], "ALLOWED_HOSTS is *"),
    ],
)
def test_it_refuses_open_mode_beyond_localhost(settings, address: str, hosts: list[str], printed: str):
    settings.ROBOT_AUTH, settings.ALLOWED_HOSTS = "open", hosts
    with pytest.raises(CommandError, match="ROBOT_AUTH is open and ") as refused:
        serve.check_open(address)
    assert printed in str(refused.value)
    assert "ROBOT_AUTH_OPEN_ANYWHERE=1" in str(refused.value)
    settings.ROBOT_AUTH_OPEN_ANYWHERE = True
    serve.check_open(address)
    settings.ROBOT_AUTH, settings.ROBOT_AUTH_OPEN_ANYWHERE = "key", False
    serve.check_open(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_it_allows_open_mode_on_localhost(settings, address: str):
    settings.ROBOT_AUTH, settings.ALLOWED_HOSTS = "open", LOCAL
    serve.check_open(address)


def test_it_limits_new_robots_per_address(start_server):
    server = start_server(ROBOT_AUTH="open", NEW_ROBOTS_PER_ADDRESS="3", TRUSTED_PROXIES="127.0.0.1")
    with bystander(server):
        refused = []
        for number in range(5):
            header = {"X-Forwarded-For": f"2001:db8::{number:x}"}  # one /64
            try:
                with robot_socket(server, f"new_{number}", key=None, additional_headers=header):
                    pass
            except InvalidStatus as refusal:
                refused.append(refusal.response)
        assert [response.status_code for response in refused] == [429, 429]
        assert "NEW_ROBOTS_PER_ADDRESS" in json.loads(refused[0].body)["detail"]
        for robot_id, address in (("new_0", "2001:db8::1"), ("other", "192.0.2.8")):  # known, or another address
            with robot_socket(server, robot_id, key=None, additional_headers={"X-Forwarded-For": address}):
                pass
    assert sorted(Robot.objects.values_list("pk", flat=True)) == ["bystander", "new_0", "new_1", "new_2", "other"]
