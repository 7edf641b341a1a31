"""Keep freed memory: a training step frees the same large tensors that the next one allocates."""

import ctypes
import os
import sys

#: The parameters of glibc's mallopt and the values that never hand memory back.
_SETTINGS = {"M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**28), "M_MMAP_MAX": (-4, 0)}


def keep_memory() -> None:
    """Tell glibc to keep what is freed, and torch to ask for large pages; nothing where either is missing.

    Otherwise each step returns its activations to the kernel and has them zeroed again page by page
    (studies/calculus has the difference). Called once, before torch is loaded, by the commands only: how a
    library's host allocates is the host's business. ``MALLOC_*`` variables in the environment win.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # other C libraries have none
        for parameter, value in _SETTINGS.values():
            library.mallopt(parameter, value)
