"""Put the frames and pictures of sessions on one grid, k / fps: pure NumPy, no Django, no I/O.

All times are integers, microseconds of unix time. docs/datasets.md explains the rules for users; in short:

- Row k of an episode is at `begin_us + (k * 1_000_000 + fps // 2) // fps`. fps is that of the dataset.
- `half_us` is half the time between two frames: `500_000 // session.fps`, of the session, which may be faster than the
  dataset. From 60 to 30 fps every second frame is in the middle between two rows. With half a row in place of half a
  frame, jitter would decide which of two frames a row takes.
- A stream is: the frames; each camera; each column with missing values, of which only frames with a value count.
- A run of a stream is a longest stretch in which neighbours are at most max_gap apart. The frames are cut in addition
  at each clock step (sides.py), and frames of times that two sides of a step have in common belong to no run.
- An episode is the intersection of one run of each stream, within the trims. Its first row is the time of a frame.
- A row takes the newest sample at `row time + half_us` or earlier, of the run of its episode.
- Interpolated columns take a + (b - a) * ((t - t_a) / (t_b - t_a)) in float64, a the newest sample at the row's time t
  or earlier, b the next one, both of the run of the episode; where it does not have both, the row's sample as above.
"""
