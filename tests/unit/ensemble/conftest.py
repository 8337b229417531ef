"""A site for the tests of the core."""

from rigs.site import make_site, site  # noqa: F401
from rigs.store import open_store  # noqa: F401
