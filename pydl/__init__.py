from pydl.errors import Error

__all__ = ["Error"]
