#!/usr/bin/env python
import gc
import os
import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        gc.disable()  # until it serves (teleop/server/daphne.py): of the 118,000 objects of a start 2,000 are garbage
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # it names the setting: where the code was is no help
        sys.exit(f"ImproperlyConfigured: {error}")
