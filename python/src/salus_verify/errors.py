"""The one error of this package."""


class Refused(Exception):  # noqa: N818 - a refusal is the normal answer to a bad proof
    """Bytes that are not what they should be, or that do not prove what they should prove.

    The text never holds content of the bytes, only what is wrong with them.
    """
