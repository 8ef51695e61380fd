"""What a JSON schema asks for, said so that a grammar can enforce it; knows no engine."""
