"""Keys, usage records and money: durable, exact to the token and the micro-unit."""
