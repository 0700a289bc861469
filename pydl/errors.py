"""The one exception type that pydl raises on purpose."""


class Error(RuntimeError):
    """What pydl raises for bad input: a file, a net, shapes, labels, a diverging run.

    The message says where (file and line, or layer), what is wrong with which values, and the way
    out. The C++ core's ``pydl::Error`` arrives in Python as this class.

    >>> import pydl
    >>> try:
    ...     pydl.Net("no_such.prototxt")
    ... except pydl.Error as error:
    ...     print(error)
    no_such.prototxt: no such file
    """
