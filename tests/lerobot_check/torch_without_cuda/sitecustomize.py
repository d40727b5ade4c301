"""Let LeRobot 0.4.4 import torchvision beside a torch without CUDA; Python imports this module when it starts.

The operators of torchvision's wheel are made for CUDA. lerobot-record and lerobot-teleoperate use none of them.
"""

from read_dataset import tolerate_missing_operators

tolerate_missing_operators()
