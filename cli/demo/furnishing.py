"""Shell functions that furnish the machines of a private cluster, as root and from inside: networks, /run, /etc.

A machine's own script is ``FURNISHING``, then what it calls of it: ``furnish_head ROOT NETWORK...`` or
``furnish_node ROOT NAME NUMBER ADDRESS WIRE BOOT NETWORK...``.
"""

from __future__ import annotations

from collections.abc import Sequence

HEAD_ADDRESS = "10.77.0.1"
_NODES_FROM = 10
# documentation and private address space (RFC 5737, RFC 1918): no route of any real machine is hidden
BRIDGES = {"public": "198.51.100", "private": "10.73.0"}
"""The networks that guests can be on, and the first three bytes of their addresses; the head has .1, node N .(N+1)."""

_SUBNETS = "\n".join(f"    {name}) net={subnet} ;;" for name, subnet in BRIDGES.items())
_SUBNET = f"""
# run anywhere else, this would change the real machine
[ "$$" = 1 ] || {{ echo "not the first process of a space" >&2; exit 1; }}
subnet() {{
    case $1 in
{_SUBNETS}
    *) echo "no addresses are known for network $1" >&2; return 1 ;;
    esac
}}
"""
_RUN = """
own_run() {
    mount -t tmpfs -o mode=0755 tmpfs /run
    mkdir /run/netns /run/lock /run/sudo
}
"""
_HEAD = f"""
furnish_head() {{
    root=$1; shift
    hostname head
    own_run
    touch /run/netns/head
    mount --bind /proc/self/ns/net /run/netns/head

    # what is added to these directories is added for this cluster only
    mount -t tmpfs -o mode=0755 tmpfs "$root/over"
    for place in etc var/lib; do
        name=$(echo "$place" | tr / -)
        mkdir "$root/over/$name" "$root/over/$name.work"
        mount -t overlay overlay -o "lowerdir=/$place,upperdir=$root/over/$name,workdir=$root/over/$name.work" "/$place"
    done
    mkdir -p /etc/flyinglow /var/lib/flyinglow-node
    mount --bind "$root/sbin" /usr/local/sbin
    for file in passwd group shadow; do
        cat "$root/etc/$file" >>"/etc/$file"
    done
    cp "$root/etc/hosts" "$root/etc/sudoers" /etc
    chmod 0440 /etc/sudoers

    ip -batch - <<EOF
link set lo up
link add cluster type bridge forward_delay 0
address add {HEAD_ADDRESS}/24 dev cluster
link set cluster up
EOF
    for network in "$@"; do
        subnet "$network"
        ip -batch - <<EOF
link add br-$network type bridge forward_delay 0
address add $net.1/24 dev br-$network
link set br-$network up
EOF
    done
}}
"""
_NODE = f"""
furnish_node() {{
    root=$1 name=$2 number=$3 address=$4 wire=$5 boot=$6; shift 6
    hostname "$name"
    mac=02:fc:00:00:00:$(printf %02x "$number")
    ip -batch - <<EOF
link set lo up
link add name eth0 address $mac type veth peer name $wire netns head
address add $address/24 dev eth0
link set eth0 up
route add default via {HEAD_ADDRESS}
EOF
    ip -n head link set "$wire" master cluster up
    index=0
    for network in "$@"; do
        index=$((index + 1))
        subnet "$network"
        ip -batch - <<EOF
link add name br-$network type bridge forward_delay 0
link add name up-$network type veth peer name $wire.$index netns head
link set up-$network master br-$network up
address add $net.$((number + 1))/24 dev br-$network
link set br-$network up
EOF
        ip -n head link set "$wire.$index" master "br-$network" up
    done

    own_run
    mount --bind "$root/nodes/$name/etc" /etc/flyinglow
    mount --bind "$root/nodes/$name/lib" /var/lib/flyinglow-node
    echo "$boot" >/run/boot_id
    mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
}}
"""
FURNISHING = _SUBNET + _RUN + _HEAD + _NODE
"""A crashed node is furnished again under the same name: what lies in its /etc/flyinglow stays, its /run does not."""


def address(number: int) -> str:
    """Return the address of a node, counted from 1, in the cluster's own network."""
    return f"10.77.0.{_NODES_FROM + number}"


def hosts(names: Sequence[str]) -> str:
    """Return the text of /etc/hosts, the same on every machine."""
    lines = ["127.0.0.1 localhost", f"{HEAD_ADDRESS} head"]
    lines += [f"{address(number)} {name}" for number, name in enumerate(names, 1)]
    return "\n".join(lines) + "\n"
