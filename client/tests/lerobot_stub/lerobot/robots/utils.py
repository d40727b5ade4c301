from lerobot.utils.import_utils import make_device_from_device_class


def make_robot_from_config(config):
    if config.type in ("so100_follower", "so101_follower"):
        from .so_follower import SOFollower

        return SOFollower(config)
    if config.type == "bi_so_follower":
        from .so_follower import BiSOFollower

        return BiSOFollower(config)
    try:
        return make_device_from_device_class(config)
    except Exception as error:
        raise ValueError(f"Error creating robot with config {config}: {error}") from error
