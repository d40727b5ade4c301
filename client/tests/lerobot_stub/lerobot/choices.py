"""The registry of draccus, from which lerobot's configs inherit."""


class ChoiceRegistry:
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "_choice_registry"):
            cls._choice_registry = {}

    @classmethod
    def get_known_choices(cls):
        return cls._choice_registry

    @classmethod
    def get_choice_class(cls, name):
        return cls._choice_registry[name]

    @classmethod
    def get_choice_name(cls, subclass):
        return next(name for name, known in cls._choice_registry.items() if known == subclass)

    @classmethod
    def register_subclass(cls, name, choice=None):
        if choice is None:
            return lambda chosen: cls.register_subclass(name, chosen)
        if cls._choice_registry.setdefault(name, choice) != choice:
            raise ValueError(f"cannot register {choice} as {name}")
        return choice
