"""Recordings as files -> samples, in pieces that a model hears at once.

decoding    a file of any usual format, decoded in a child process
splitting   where a long one is cut: where it is quiet
"""
