"""The contract as named checks against any server, over HTTP alone; knows nothing of Fjord."""
