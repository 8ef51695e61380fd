"""`fjord doctor`: what of this machine is ready for a server, and what to do about the rest."""
