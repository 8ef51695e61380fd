"""How a person shows who it is. No page and no cookie is known here.

passwords.py     hashed with argon2id, and compared
failed_tries.py  who has to wait after wrong ones
site_secret.py   with which cookies are signed: one for a whole site
issuers.py       `access:` of the registry: OpenID Connect issuers, who is who
discovery.py     an issuer's addresses and keys, fetched within bounds
code_flow.py     the way there and back: PKCE, state, nonce
id_tokens.py     what an issuer says of a person, checked
people.py        a person of an issuer -> a member
"""
