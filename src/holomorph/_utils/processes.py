"""How a lost process shows in the others."""

#: What the survivors' transport says when the connection to a lost process breaks.
_BROKEN = ("Connection closed by peer", "Connection reset by peer", "Connection refused", "Broken pipe",
           "Socket closed", "NCCL communicator was aborted", "remote process has died")  # fmt: skip


def is_loss_of_a_process(error: BaseException) -> bool:
    """Whether an error of the transport tells that the other end is gone.

    >>> is_loss_of_a_process(RuntimeError("Read error [127.0.0.1]: Connection reset by peer"))
    True
    """
    return any(words in str(error) for words in _BROKEN)
