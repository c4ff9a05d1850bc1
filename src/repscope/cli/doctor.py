"""What this installation can do: versions, devices, speed, memory, and what each extra lacks."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import repscope
from repscope.engine.plan import available_memory
from repscope.engine.threads import cores

NOT_FOR_USERS = ("all", "test", "docs")
"""Extras that hold the others, or serve those who work on repscope."""

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*(?P<wanted>[^;]*?)\s*(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True)
class Requirement:
    """A package that an extra needs.

    Attributes:
        name: As pip calls it.
        wanted: Versions that will do, such as ``>=2.4``.
        installed: The version that is there; None: it is not.
    """

    name: str
    wanted: str
    installed: str | None


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        versions: Of Python and repscope.
        system: Operating system and processor.
        threads: That numerical libraries use.
        memory: Bytes that this process may still take.
        devices: Where models can run: the name for ``--device``, and what it is.
        routes: Rate of single-precision products of activations on each route of the engine, in operations per second.
        extras: What each extra needs; ``core`` is what repscope itself needs.
    """

    versions: Mapping[str, str]
    system: str
    threads: int
    memory: float
    devices: Mapping[str, str]
    routes: Mapping[str, float]
    extras: Mapping[str, tuple[Requirement, ...]]

    def missing(self, extra: str) -> tuple[str, ...]:
        """Packages that an extra needs and that are not installed."""
        return tuple(need.name for need in self.extras[extra] if need.installed is None)

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def examine() -> Findings:
    """Look at this installation; takes about a second, most of it to load torch and to time products."""
    devices = _devices()  # loads torch, whose threads and routes count below
    from repscope.engine.products import route_rates

    return Findings(
        versions={"repscope": repscope.__version__, "python": platform.python_version()},
        system=f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} processors",
        threads=cores(),
        memory=available_memory(),
        devices=devices,
        routes={str(route): rate for route, rate in route_rates().items()},
        extras=_extras(),
    )


def report_lines(found: Findings) -> list[str]:
    """The findings as text."""
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    threads = f"{found.threads} thread{'' if found.threads == 1 else 's'}"
    lines = [versions, found.system, f"{_gib(found.memory)} of memory free, {threads}", ""]
    lines += [f"device {name:<8} {what}" for name, what in found.devices.items()]
    fastest = max(found.routes, key=lambda route: found.routes[route])
    lines.append("")
    for route, rate in found.routes.items():
        mark = "   the fastest" if route == fastest and len(found.routes) > 1 else ""
        lines.append(f"products by {route:<7} {rate / 1e9:8.0f} Gflop/s{mark}")
    lines.append("")
    width = max(map(len, found.extras))
    for extra, needs in found.extras.items():
        there = ", ".join(f"{need.name} {need.installed}" for need in needs if need.installed is not None)
        if missing := found.missing(extra):
            package = "repscope" if extra == "core" else f"'repscope[{extra}]'"
            lines.append(f"{extra:<{width}} lacks {', '.join(missing)}: pip install {package}")
            lines += [f"{'':<{width}} {there}"] * bool(there)
        else:
            lines.append(f"{extra:<{width}} {there}")
    return lines


def _devices() -> dict[str, str]:
    devices = {"cpu": platform.processor() or platform.machine()}
    if importlib.util.find_spec("torch") is None:
        return devices
    import torch

    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        devices[f"cuda:{index}"] = f"{facts.name}, {_gib(facts.total_memory)}"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return devices


def _extras() -> dict[str, tuple[Requirement, ...]]:
    """What the installed package declares that it needs, by extra."""
    needs: dict[str, list[Requirement]] = {"core": []}
    for text in metadata.requires("repscope") or []:
        found = _REQUIREMENT.fullmatch(text)
        if found is None or found["name"] == "repscope":
            continue
        of_extra = _EXTRA.search(found["marker"] or "")
        extra = of_extra[1] if of_extra else "core"
        if extra not in NOT_FOR_USERS:
            needs.setdefault(extra, []).append(Requirement(found["name"], found["wanted"], _installed(found["name"])))
    return {extra: tuple(found) for extra, found in needs.items()}


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
