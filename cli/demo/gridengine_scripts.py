"""The shell scripts that furnish the machines of the demo's private Grid Engine, run as root inside each one."""

from __future__ import annotations

# documentation and private address space (RFC 5737, RFC 1918): no route of any real machine is hidden
SUBNETS = {"public": "198.51.100", "private": "10.73.0"}
"""The networks that guests can be on, and the first three bytes of their addresses; the head has .1, node N .(N+1)."""

_CASES = "\n".join(f"    {name}) net={subnet} ;;" for name, subnet in SUBNETS.items())
_SUBNET_OF = f"""
subnet() {{
    case $1 in
{_CASES}
    *) echo "no addresses are known for network $1" >&2; return 1 ;;
    esac
}}
"""

HEAD_SCRIPT = (
    _SUBNET_OF
    + """
root=$1 libraries=$2; shift 2
hostname head
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/netns /run/lock /run/sudo
touch /run/netns/head
mount --bind /proc/self/ns/net /run/netns/head
ln -s "$libraries" /run/ge

# what is added to these directories is added for this cluster only
mount -t tmpfs -o mode=0755 tmpfs "$root/over"
for place in etc var/lib usr/local/sbin; do
    name=$(echo "$place" | tr / -)
    mkdir "$root/over/$name" "$root/over/$name.work"
    mount -t overlay overlay -o "lowerdir=/$place,upperdir=$root/over/$name,workdir=$root/over/$name.work" "/$place"
done
mkdir -p /etc/flyinglow /var/lib/flyinglow-node
mount --bind "$root/sbin" /usr/local/sbin
for file in hosts passwd group sudoers; do
    cp "$root/etc/$file" "/etc/$file"
done
chmod 0440 /etc/sudoers

ip -batch - <<EOF
link set lo up
link add cluster type bridge forward_delay 0
address add 10.77.0.1/24 dev cluster
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
"""
)
"""Arguments: the cluster's directory, Grid Engine's libraries, networks."""

NODE_SCRIPT = (
    _SUBNET_OF
    + """
root=$1 name=$2 number=$3 address=$4 wire=$5 boot=$6; shift 6
hostname "$name"
mac=02:fe:00:00:00:$(printf %02x "$number")
ip -batch - <<EOF
link set lo up
link add name eth0 address $mac type veth peer name $wire netns head
address add $address/24 dev eth0
link set eth0 up
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

mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/netns /run/lock /run/sudo
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$root/nodes/$name/etc" /etc/flyinglow
mount --bind "$root/nodes/$name/lib" /var/lib/flyinglow-node
echo "$boot" >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
"""
)
"""Arguments: the cluster's directory, the node's name, number and address, a name for its wire, a boot id, networks."""
