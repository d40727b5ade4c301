"""Limits of one probe. Servers import this module, so it imports nothing of FFmpeg."""

MEMORY_BYTES = 128 * 2**20  # private and writable memory; a film takes 20 MB
CPU_S = 10
WALL_S = 20  # a timeout means that the machine has little processor time, not that the film is bad
