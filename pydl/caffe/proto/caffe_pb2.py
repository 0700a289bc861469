"""The messages and enums of caffe.proto, as programs written for pycaffe know them.

They are protobuf's own classes where the package ``protobuf`` is installed (then
``google.protobuf.text_format`` takes them, too), and else pydl's, which have the same methods.
"""

try:
    from pydl.caffe.proto import _protobuf as _classes
except ImportError:
    from pydl.caffe.proto import _plain as _classes

_NAMES = _classes.namespace(__name__)
globals().update(_NAMES)
__all__ = list(_NAMES)


def __dir__() -> list[str]:
    return sorted(_NAMES)
