import logging
import sys


def init_logging():
    root = logging.getLogger()
    root.setLevel(logging.NOTSET)
    root.handlers.clear()
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.INFO)
    root.addHandler(console)


def log_say(text, play_sounds=True, blocking=False):
    logging.info(text)
