"""Flying Low: lease virtual machines on a cluster through the batch scheduler the site already runs.

This folder only links the folders of the repository's root together, so that they import as one package.
"""

__version__ = "0.1.0"
