import importlib
import importlib.metadata
import logging

PREFIXES = ("lerobot_robot_", "lerobot_camera_", "lerobot_teleoperator_")


def make_device_from_device_class(config):
    """Return the device of a config: a class with the config's name less `Config`, in the package of its module."""
    name = type(config).__name__.removesuffix("Config")
    package, _, module = type(config).__module__.rpartition(".")
    for candidate in (package or module, f"{package or module}.{name.lower()}"):
        try:
            found = importlib.import_module(candidate)
        except ImportError:
            continue
        if hasattr(found, name):
            return getattr(found, name)(config)
    raise ImportError(f"Could not locate device class {name!r}")


def register_third_party_plugins():
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata.get("Name") or ""
        if name.startswith(PREFIXES):
            try:
                importlib.import_module(name)
            except Exception:
                logging.exception("Could not import third-party plugin: %s", name)
