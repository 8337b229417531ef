"""Images by URI: only as the site allows, with checksum and format, and never with credentials or a kernel."""

from dataclasses import replace
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.factory.digest import digest
from flyinglow.factory.uris import UriPolicy
from flyinglow.nodectl.errors import DeniedError, FlyingLowError, InvalidError
from flyinglow.nodectl.messages import DiskSpec
from flyinglow.workspace.catalogue import image_of
from flyinglow.workspace.model import Disk, EndAction
from rigs.site import CATALOGUE, Site, part, request, whole

SHA = "ab" * 32
OPEN = UriPolicy(
    schemes=("store", "file", "http", "https", "scp", "sftp"),
    hosts=("images.example.org", "10.0.0.5", "*.mirror.example", "*"),
    directories=("/srv/tenants",),
    kernels={"x86_64": "guest"},
    size_mb=2000,
)


def disk(uri: str, **changes: Any) -> Disk:
    return replace(Disk(name="root", image=uri, sha256=SHA, format="qcow2"), **changes)


def create(site: Site, *disks: Disk, policy: UriPolicy | None = OPEN) -> str:
    """Create a lease with these disks on a site of this policy; None is the one that a site has without a word."""
    if policy is not None:
        site.factory._uris = policy
    return whole(site.create(part(disks=disks))).id


def spec(site: Site, key: str) -> tuple[DiskSpec, ...]:
    site.settle()
    return site.simulation.spec(site.workspace.get(LOCAL, key).tag).disks


def test_the_store_is_open_without_a_word_of_the_site_and_nothing_else(site: Site) -> None:
    (made,) = spec(site, create(site, disk("store:mine/ce-1.qcow2"), policy=None))
    assert (made.source, made.sha256, made.format, made.public) == ("store:mine/ce-1.qcow2", SHA, "qcow2", False)
    for uri in ("file:///srv/x", "http://a.example/x", "https://a.example/x", "scp://a.example/x"):
        with pytest.raises(DeniedError, match=r"not offered by this site: name one of its catalogue, or one by store:"):
            create(site, disk(uri), policy=None)


def test_a_site_may_close_the_store_too(site: Site) -> None:
    with pytest.raises(DeniedError, match=r"name one of its catalogue$"):
        create(site, disk("store:x"), policy=UriPolicy(schemes=()))


@pytest.mark.parametrize(
    ("uri", "source", "public"),
    [
        ("https://images.example.org/ce.qcow2", "https://images.example.org/ce.qcow2", False),
        ("http://10.0.0.5/ce", "http://10.0.0.5/ce", False),
        ("https://a.mirror.example/ce", "https://a.mirror.example/ce", True),
        ("https://8.8.8.8/ce", "https://8.8.8.8/ce", True),
        ("scp://images.example.org/srv/ce", "scp://images.example.org/srv/ce", False),
        ("sftp://guest@elsewhere.example/ce", "scp://guest@elsewhere.example/ce", True),
        ("file:///srv/tenants/a/ce", "file:///srv/tenants/a/ce", False),
        ("https://images.example.org/sftp:/ce", "https://images.example.org/sftp:/ce", False),
    ],
)
def test_what_is_allowed_goes_to_the_node_with_the_sites_kernel(
    site: Site, uri: str, source: str, public: bool
) -> None:
    key = create(site, disk(uri), Disk(name="more", image=uri, sha256=SHA, format="raw", read_only=True))
    first, second = spec(site, key)
    assert (first.source, first.sha256, first.format, first.public) == (source, SHA, "qcow2", public)
    assert (second.source, second.format, second.read_only) == (source, "raw", True)
    made = site.simulation.spec(site.workspace.get(LOCAL, key).tag)
    assert (made.kernel, made.ready_mark) == (CATALOGUE["guest"].kernel, CATALOGUE["guest"].ready_mark)


def test_it_boots_by_itself_or_with_the_kernel_of_an_entry_that_it_names(site: Site) -> None:
    own = create(site, disk("store:x"), policy=UriPolicy())
    lent = create(site, disk("store:x", kernel_from="bare"), policy=UriPolicy())
    site.settle()
    kernels = [site.simulation.spec(site.workspace.get(LOCAL, key).tag).kernel for key in (own, lent)]
    assert kernels == [None, CATALOGUE["bare"].kernel]


def test_its_kernel_is_the_sites_only_one_or_that_of_the_architecture_that_is_declared(site: Site) -> None:
    one = UriPolicy(kernels={"aarch64": "bare"})
    both = UriPolicy(kernels={"aarch64": "bare", "x86_64": "guest"})
    keys = [create(site, disk("store:x"), policy=one), create(site, disk("store:x", kernel_from="bare"), policy=both)]
    site.settle()
    for key in keys:
        assert site.simulation.spec(site.workspace.get(LOCAL, key).tag).kernel == CATALOGUE["bare"].kernel
    with pytest.raises(InvalidError, match=r"KernelFrom of which architecture .*: bare \(aarch64\), guest \(x86_64\)"):
        create(site, disk("store:x"), policy=both)


def test_its_size_is_held_on_the_node_which_takes_no_larger_one(site: Site) -> None:
    assert spec(site, create(site, disk("store:x", size_mb=300)))[0].most_mb == 300
    assert spec(site, create(site, disk("store:x")))[0].most_mb == OPEN.size_mb
    assert spec(site, create(site, Disk(name="root", image="guest")))[0].most_mb is None
    assert site.workspace.get(LOCAL, create(site, disk("store:x", size_mb=300))).allocation.disk_mb == 300
    assert site.workspace.get(LOCAL, create(site, disk("store:x"))).allocation.disk_mb == OPEN.size_mb


def test_it_is_saved_in_the_time_that_its_size_needs(site: Site) -> None:
    asked: dict[str, Any] = {"end_action": EndAction.SAVE, "save_uri": "store:{name}"}
    key = whole(site.create(part(disks=(disk("store:x", size_mb=300),)), **asked)).id
    assert site.workspace.get(LOCAL, key).save_lead == 120 + 15


BAD: dict[str, tuple[Disk, type[FlyingLowError], str]] = {
    "a path": (Disk(name="root", image="../../x"), InvalidError, "is a path"),
    "an absolute path": (Disk(name="root", image="/etc/passwd"), InvalidError, "is a path"),
    "a hidden name": (Disk(name="root", image=".x"), InvalidError, "is a path"),
    "a scheme nobody has": (disk("ftp://a.example/x"), DeniedError, "by ftp: URI are not offered"),
    "a device": (disk("file:///dev/sda"), DeniedError, "which are: /srv/tenants"),
    "beside the directory": (disk("file:///srv/tenants-of-others/x"), DeniedError, "which are: /srv/tenants"),
    "the directory itself": (disk("file:///srv/tenants"), DeniedError, "which are: /srv/tenants"),
    "out of the directory": (disk("file:///srv/tenants/../x"), InvalidError, "without .."),
    "out of it, encoded": (disk("file:///srv/tenants/%2e%2e/x"), InvalidError, "without .."),
    "out of the store": (disk("store:../x"), InvalidError, "no name of the store"),
    "a password": (disk("https://me:canary@images.example.org/x"), InvalidError, "with user or password is refused"),
    "a user": (disk("http://canary@images.example.org/x"), InvalidError, "with user or password is refused"),
    "a password for ssh": (disk("scp://me:canary@images.example.org/x"), InvalidError, "holds no password"),
    "a token": (disk("https://images.example.org/x?sig=canary"), InvalidError, "may be a secret"),
    "a fragment": (disk("https://images.example.org/x#canary"), InvalidError, "fragment"),
    "a line break": (disk("https://images.example.org/x\ncanary"), InvalidError, "white space"),
    "loopback": (disk("http://127.0.0.1/x"), DeniedError, "no public address"),
    "loopback by name": (disk("http://localhost/x"), DeniedError, "no public address"),
    "the metadata service": (disk("http://169.254.169.254/latest"), DeniedError, "no public address"),
    "the site's network": (disk("http://10.0.0.6/x"), DeniedError, "no public address"),
    "wrapped loopback": (disk("http://[::1]/x"), DeniedError, "no public address"),
    "a name without a dot": (disk("http://intranet/x"), DeniedError, "no public address"),
    "a name of the inside": (disk("http://db.internal/x"), DeniedError, "no public address"),
    "no checksum": (disk("store:x", sha256=None), InvalidError, "needs its sha256"),
    "a short checksum": (disk("store:x", sha256="ab"), InvalidError, "needs its sha256"),
    "no format": (disk("store:x", format=None), InvalidError, "needs its format"),
    "another format": (disk("store:x", format="vmdk"), InvalidError, "needs its format"),
    "too large": (disk("store:x", size_mb=70000), DeniedError, "1 to 65536 MB"),
    "a kernel nobody has": (disk("store:x", kernel_from="mine"), InvalidError, "there are: bare, guest"),
    "a kernel of an image without one": (disk("store:x", kernel_from="plain"), InvalidError, "has a kernel"),
    "facts of a catalogue image": (disk("plain", format=None), InvalidError, "sha256 goes with an image"),
    "a format of a catalogue image": (disk("plain", sha256=None), InvalidError, "format goes with an image"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused_before_any_node_is_asked(site: Site, name: str) -> None:
    bad, error, words = BAD[name]
    before = site.free()
    with pytest.raises(error, match=words) as refused:
        create(site, bad)
    assert "canary" not in str(refused.value)
    assert (site.rows(), site.free(), site.simulation.log) == ([], before, [])
    with pytest.raises(error):
        site.factory.validate(LOCAL, request(part(disks=(Disk(name="root", image="plain"), replace(bad, name="x")))))


def test_only_listed_hosts_are_asked_where_the_site_lists_some(site: Site) -> None:
    policy = replace(OPEN, hosts=("images.example.org", "*.mirror.example"))
    create(site, disk("https://a.mirror.example/x"), policy=policy)
    for host in ("mirror.example", "mirror.example.evil.example", "images.example.org.evil.example", "8.8.8.8"):
        with pytest.raises(DeniedError, match="the site allows these hosts"):
            create(site, disk(f"https://{host}/x"), policy=policy)


def test_a_kernel_that_the_site_took_away_is_not_replaced_by_another() -> None:
    assert image_of(disk("store:x", kernel_from="guest"), {}) is None


def test_another_checksum_is_another_request() -> None:
    asked = [request(part(disks=(disk("store:x", sha256=sha),))) for sha in (SHA, "cd" * 32)]
    assert digest(asked[0]) != digest(asked[1])
