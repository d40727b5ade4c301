"""Send recorded LeRobot datasets to the server: `teleop push`. It needs the extra `push` (PyAV, numpy, pyarrow)."""
