"""Values whose methods raise, or never stop."""


class Object:
    """An object of which each of these methods and attributes raises."""

    def _raise(self, *_):
        raise RuntimeError("hostile")

    __float__ = __int__ = __index__ = __len__ = __iter__ = __array__ = __getattr__ = __bool__ = _raise
    __repr__ = __str__ = __getitem__ = __contains__ = keys = items = tolist = item = _raise
    __hash__ = object.__hash__
    shape = dtype = property(_raise)


def subclass(base):
    """Return a subclass of a builtin type with the methods of Object."""
    methods = {name: value for name, value in vars(Object).items() if name not in ("__dict__", "__weakref__")}
    return type(f"Hostile{base.__name__}", (base,), methods)


class Deep(dict):
    """An object that returns itself for ever."""

    shape = ()

    def items(self):
        while True:
            yield "a", self

    def item(self):
        return self


class Scalar:
    shape = ()

    def item(self):
        return self
