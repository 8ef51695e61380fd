"""One file that carries a site: models, wheels, Fjord itself; made, verified and installed.

What reads a bundle (all but create, contents, sbom and wheels) needs Python alone: it runs before
anything is installed.
"""
