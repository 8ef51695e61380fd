"""One request's life: planned, generated, metered, recorded, cut."""
