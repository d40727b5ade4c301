"""Compute --cost: the price of a robot on rented machines, from a run's CPU and memory and a dated list of prices."""

import json
from pathlib import Path
from typing import Any

from loadtest.report.sections import NAMES, Section

PRICES = Path(__file__).parent / "prices.json"
MONTH_H = 730
MOST_CPU = 0.8  # above this share --find-max calls no run stable
MOST_MEMORY = 0.8


def basis(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each database, the run with the most robots that met its target."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        if (
            row["verdict"] == "met"
            and row["cpu"]
            and row["robots"] > best.get(row["database"], row | {"robots": 0})["robots"]
        ):
            best[row["database"]] = row
    return list(best.values())


def robots(row: dict[str, Any], cpus: float, machine: dict[str, Any], share: float) -> int:
    """Return how many robots this machine holds at `share` of its CPU, scaled from `cpus`; 0 if memory is too small."""
    per_robot = row["cpu"] / 100 * cpus / row["robots"]
    fits = row["memory_mb"] < machine["memory_mb"] * MOST_MEMORY
    return int(machine["vcpus"] * share * MOST_CPU / per_robot) if fits else 0


def lines(rows: list[dict[str, Any]], cpus: float, prices: dict[str, Any]) -> list[list[str]]:
    found = []
    for row in basis(rows):
        base = f"{row['robots']} robots at {row['cpu']:g} % of {cpus:g} CPU, {row['memory_mb']:g} MB"
        for machine in prices["machines"]:
            month = machine["per_hour"] * MONTH_H
            share = machine["sustained_share"]
            surplus = (1 - share) * machine["vcpus"] * prices["surplus_per_vcpu_hour"] * MONTH_H
            cells = [NAMES[row["database"]], base, machine["name"]]
            for count, price in (
                (robots(row, cpus, machine, share), month),
                (robots(row, cpus, machine, 1), month),
                (robots(row, cpus, machine, 1), month + surplus),
            ):
                cells += [str(count), f"{price / count:.2f}" if count else "-"]
            found.append(cells)
    return found


def section(rows: list[dict[str, Any]], cpus: float) -> Section:
    prices = json.loads(PRICES.read_text())
    text = (
        f"Prices of {prices['as_of']} ({prices['source']}), in {prices['currency']}, for the server alone, "
        "without database, disk and traffic. The second column is the measured run. The columns to its right are "
        f"scaled from it, in proportion to CPU and up to {MOST_CPU:.0%} of it; a core of these machines may be slower "
        "or faster than the measured one. Sustained: the CPU that the machine may use permanently (a t2.micro 10 % of "
        "a core). Burst: full speed until the CPU credits are used up. Surplus: full speed permanently, with its "
        "surcharge."
    )
    price = f"{prices['currency']} per robot and month"
    columns = ["database", "measured", "machine", "sustained: robots", price]
    columns += ["burst: robots", price, "surplus: robots", price]
    return Section("8.1 Cost of a robot (scaled)", text, columns, lines(rows, cpus, prices))
