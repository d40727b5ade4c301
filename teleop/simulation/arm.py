"""The motion of a simulated SO-101: no I/O."""

import math
import random
from typing import NamedTuple

# Degrees, from the arm's URDF with its zero in the middle; the gripper is open at 100 (LeRobot, use_degrees).
LIMITS = {
    "shoulder_pan.pos": (-110.0, 110.0),
    "shoulder_lift.pos": (-100.0, 100.0),
    "elbow_flex.pos": (-97.0, 97.0),
    "wrist_flex.pos": (-95.0, 95.0),
    "wrist_roll.pos": (-157.0, 163.0),
    "gripper.pos": (0.0, 100.0),
}
LAG_S = 0.08  # the follower is where the leader was
NOISE = 0.05  # degrees; an encoder step is 0.088
COLD_C, WARMTH_C, WARMING_S = 28, 16, 600  # a motor's temperature in degrees C, and how it rises


class Swing(NamedTuple):
    """One joint of the leader: a slow sweep and a faster correction on it."""

    centre: float
    sweep: float
    sweep_hz: float
    correction: float
    correction_hz: float
    phase: float

    def at(self, elapsed_s: float) -> float:
        turns = math.tau * elapsed_s
        slow = math.sin(self.sweep_hz * turns + self.phase)
        return self.centre + self.sweep * slow + self.correction * math.sin(self.correction_hz * turns)


class Arm:
    """A leader and its follower; a number always gives the same motion, different numbers give different ones.

    With `servo_health` the follower reports the temperature (degrees C) and the load (%) of each motor too.
    """

    def __init__(self, number: int, servo_health: bool = False) -> None:
        self._servo_health = servo_health
        self._rng = random.Random(number)
        self._swings = {joint: self._swing(*limits) for joint, limits in LIMITS.items()}

    def _swing(self, low: float, high: float) -> Swing:
        uniform = self._rng.uniform
        reach = (high - low) / 2 * uniform(0.4, 0.9)  # the rest is room for the noise
        return Swing(
            centre=(low + high) / 2,
            sweep=0.8 * reach,
            sweep_hz=uniform(0.05, 0.2),
            correction=0.2 * reach,
            correction_hz=uniform(0.3, 0.6),
            phase=uniform(0, math.tau),
        )

    def frame(self, elapsed_s: float) -> tuple[dict[str, float], dict[str, float]]:
        """Return values of LeRobot's get_observation (follower) and get_action (leader), flat and in their order."""
        observation, action = {}, {}
        for joint, swing in self._swings.items():
            noise = self._rng.uniform(-NOISE, NOISE)
            observation[joint] = round(swing.at(elapsed_s - LAG_S) + noise, 3)
            action[joint] = round(swing.at(elapsed_s), 3)
        if self._servo_health:
            observation |= self._motors(elapsed_s, observation, action)
        return observation, action

    def _motors(self, elapsed_s: float, at: dict[str, float], target: dict[str, float]) -> dict[str, float]:
        warmth = WARMTH_C * (1 - math.exp(-elapsed_s / WARMING_S))
        values = {}
        for number, joint in enumerate(LIMITS):
            motor = joint.removesuffix(".pos")
            values[f"{motor}.temperature"] = round(COLD_C + warmth + 2 * number)
            values[f"{motor}.load"] = round(2 * (target[joint] - at[joint]), 1)
        return values
