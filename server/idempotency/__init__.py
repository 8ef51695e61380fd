"""What came of requests that brought a key of their own, for a day: sealed, in this node's file or
the site's database."""
