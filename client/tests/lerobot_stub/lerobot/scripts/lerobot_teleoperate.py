def teleoperate(robot, teleop, *, frames):
    robot.connect()
    try:
        for _ in range(frames):
            robot.send_action(teleop(robot.get_observation()))
    except KeyboardInterrupt:
        pass
    finally:
        robot.disconnect()
