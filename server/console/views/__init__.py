"""One file a page: asks the admin API, and shows what it says."""
