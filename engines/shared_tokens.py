"""What two prompts begin with."""

from array import array


def shared_tokens(a: "array[int]", b: "array[int]") -> int:
    """The length of their common beginning, by halves: slices compare as fast as memory is read."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
