"""What an engine needs in bytes, from what is known of its model, and which engines fit on which
cards together: pure, before a byte of weights moves."""
