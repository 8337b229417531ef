from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from flyinglow.notification.consumers import ConsumerPolicy, Consumers, RefusedError

PUBLIC = "93.184.216.34"


def consumers(*answers: str, **policy: object) -> Consumers:
    def resolver(host: str, port: int) -> Sequence[str]:
        if not answers:
            raise OSError("no such host")
        return answers

    return Consumers(ConsumerPolicy(**policy), resolver)  # type: ignore[arg-type]


def refusal(checked: Consumers, url: str) -> str:
    with pytest.raises(RefusedError) as caught:
        checked.check(url)
    return caught.value.message


def test_a_public_consumer_is_resolved_once_to_the_address_to_connect_to() -> None:
    asked: list[tuple[str, int]] = []

    def resolver(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return [PUBLIC, "93.184.216.35"]

    target = Consumers(ConsumerPolicy(), resolver).check("http://client.example.org:8080/notify?a=b")
    assert (target.scheme, target.host, target.port, str(target.address)) == (
        "http",
        "client.example.org",
        8080,
        PUBLIC,
    )
    assert asked == [("client.example.org", 8080)]


@pytest.mark.parametrize(("url", "port"), [("http://h.example/", 80), ("https://h.example/", 443)])
def test_ports_default_by_scheme(url: str, port: int) -> None:
    assert consumers(PUBLIC).check(url).port == port


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "not by 'file'"),
        ("gopher://h.example/", "not by 'gopher'"),
        ("ftp://h.example/", "not by 'ftp'"),
        ("//h.example/", "no scheme"),
        ("", "no scheme"),
        ("http:///path", "no host"),
        ("http://user:word@h.example/", "credentials"),
        ("http://user@h.example/", "credentials"),
        ("https://user:word@h.example/", "credentials"),
        ("https://h.example:465/", "port 465"),
        ("https://h.example:0/", "port 0"),
        ("https:/h.example/", "no host"),
        ("http://h.example:25/", "port 25"),
        ("http://h.example:6379/", "port 6379"),
        ("http://h.example:0/", "port 0"),
        ("http://h.example:99999/", "not a URL"),
        ("http://h.example:http/", "not a URL"),
        ("http://[::1/", "not a URL"),
        ("http://h.example/a b", "characters"),
        ("http://h.example/\r\nX: y", "characters"),
        ("http://h.example\\@evil.example/", "characters"),
        ("http://h\N{LATIN SMALL LETTER E WITH ACUTE}.example/", "characters"),
        ("http://h.example/" + "a" * 3000, "longer"),
    ],
)
def test_what_is_no_plain_http_url_is_refused(url: str, why: str) -> None:
    assert why in refusal(consumers(PUBLIC), url)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.9.1", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("169.254.1.1", "link-local"),
        ("169.254.169.254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "one link"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("fc00::1", "private"),
        ("::ffff:127.0.0.1", "carries"),
        ("::ffff:93.184.216.34", "carries"),
        ("::127.0.0.1", "carries"),
        ("64:ff9b::7f00:1", "carries"),
        ("2002:7f00:1::", "carries"),
        ("2001:0:7f00:1::", "carries"),
    ],
)
def test_a_forbidden_address_is_refused_as_literal_and_as_what_a_name_stands_for(address: str, why: str) -> None:
    literal = f"[{address}]" if ":" in address else address
    if "%" not in address:
        assert why in refusal(consumers(), f"http://{literal}/")
    assert why in refusal(consumers(address), "http://innocent.example/")
    assert why in refusal(consumers(PUBLIC, address), "http://half-innocent.example/")


@pytest.mark.parametrize("host", ["0x7f000001", "2130706433", "127.1", "0177.0.0.1"])
def test_odd_spellings_of_loopback_reach_the_resolver_and_are_judged_by_its_answer(host: str) -> None:
    assert "loopback" in refusal(Consumers(ConsumerPolicy()), f"http://{host}/")


def test_what_the_site_allows() -> None:
    assert consumers(allow_loopback=True).check("http://127.0.0.1:8080/").port == 8080
    assert consumers("127.0.0.1", "::1", allow_loopback=True).check("http://localhost/").host == "localhost"
    private = consumers(networks=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")))
    assert str(private.check("http://10.1.2.3/").address) == "10.1.2.3"
    assert str(private.check("http://[fd00::5]/").address) == "fd00::5"
    assert "private" in refusal(private, "http://10.2.0.1/")


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "169.254.7.7", "100.100.100.200"])
def test_no_configuration_allows_link_local_metadata_multicast_or_unspecified(address: str) -> None:
    everything = consumers(allow_loopback=True, networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    refusal(everything, f"http://{address}/")
    refusal(everything, f"http://[::ffff:{address}]/")


def test_a_closed_site_names_every_network() -> None:
    closed = consumers(public=False, networks=(ip_network("93.184.216.0/24"),))
    assert closed.check(f"http://{PUBLIC}/").port == 80
    assert "outside" in refusal(closed, "http://8.8.8.8/")


def test_the_site_can_deny_more_ports_and_https() -> None:
    own = consumers(PUBLIC, denied_ports=frozenset({8443}), schemes=frozenset({"http"}))
    assert "port 8443" in refusal(own, "http://h.example:8443/")
    assert "not by 'https'" in refusal(own, "https://h.example/")


def test_a_name_that_cannot_be_resolved_is_refused() -> None:
    assert "cannot be resolved" in refusal(consumers(), "http://nowhere.example/")
    assert "which is no address" in refusal(consumers("bogus"), "http://nowhere.example/")
    empty = Consumers(ConsumerPolicy(), lambda host, port: [])
    assert "has no address" in refusal(empty, "http://nowhere.example/")


def test_a_label_too_long_for_a_name_is_refused_by_the_real_resolver() -> None:
    assert "cannot be resolved" in refusal(Consumers(ConsumerPolicy()), f"http://{'a' * 80}.example/")
