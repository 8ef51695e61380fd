"""The head's end of its links to joined nodes: one long HTTP exchange each, open on both sides."""
