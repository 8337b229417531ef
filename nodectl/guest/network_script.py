"""How the packaged guest brings up its NICs: part of its first program. By DHCP, or by its context where that says so.

IPv6 comes from the context in either case, for busybox has no DHCPv6 client; what routers advertise the kernel takes.
Of several default routes the first NIC's goes. The guest says on its console::

    GUEST-IP eth0 10.0.0.5/24 mac=..        one a NIC; "none" in place of an address that did not come
    GUEST-IP6 eth0 fd00:1::a00:5/64         one a NIC that has one besides the link-local address
    GUEST-NET eth0 dhcp                     how it was told: "static" is by the context
    GUEST-ROUTE default via 10.0.0.1 dev eth0 metric 100    its default routes
"""

NETWORK_SCRIPT = r"""
nic_line() {  # NIC: what the context says of it
    grep -i "^nic .* $(cat "/sys/class/net/$1/address")\( \|\$\)" $context | head -n 1
}
word_of() {  # KEY WORDS...: the value behind KEY=
    key=$1
    shift
    for word in "$@"; do case $word in "$key="*) echo "${word#*=}"; return ;; esac; done
}
bring_up() {  # NIC METRIC
    set -- "$1" "$2" $(nic_line "$1")
    if [ "$(word_of delivery "$@")" = static ]; then
        ip address add "$6" dev "$1"
        gateway=$(word_of gateway "$@")
        [ -z "$gateway" ] || ip route add default via "$gateway" dev "$1" metric "$2"
        for server in $(word_of dns "$@" | tr , ' '); do echo "nameserver $server" >> /run/resolv.conf; done
        echo static > "/run/net-$1"
    else
        export METRIC="$2"
        udhcpc -i "$1" -s /etc/udhcpc.script -q -n -f -t 12 -T 1 -S > /dev/null 2>&1 && echo dhcp > "/run/net-$1"
    fi
    address6=$(word_of ip6 "$@") gateway6=$(word_of gateway6 "$@")
    [ -z "$address6" ] || ip -6 address add "$address6" dev "$1"
    [ -z "$gateway6" ] || ip -6 route add default via "$gateway6" dev "$1" metric "$2"
    for server in $(word_of dns6 "$@" | tr , ' '); do echo "nameserver $server" >> /run/resolv.conf; done
}
bring_up_all() {
    ip link set lo up
    number=100 nics=
    for path in /sys/class/net/eth*; do
        [ -e "$path" ] || continue
        nic=${path##*/}
        nics="$nics $nic"
        # an address that is still being tried is not used: another NIC's would go out here, which is stopped
        echo 0 2>/dev/null > "/proc/sys/net/ipv6/conf/$nic/accept_dad"
        ip link set "$nic" up
        bring_up "$nic" $number &
        number=$((number + 1))
    done
    wait
    for nic in $nics; do
        address=$(ip -4 -o address show dev "$nic" | sed -n 's|.* inet \([0-9./]*\).*|\1|p')
        echo "GUEST-IP $nic ${address:-none} mac=$(cat "/sys/class/net/$nic/address")"
        ip -6 -o address show dev "$nic" 2>/dev/null | grep -v ' fe80' |
            sed -n "s|.* inet6 \([0-9a-f:/]*\).*|GUEST-IP6 $nic \1|p"
        echo "GUEST-NET $nic $(cat "/run/net-$nic" 2>/dev/null || echo none)"
    done
    { ip route show; ip -6 route show; } 2>/dev/null | sed -n 's/  */ /g; s/ $//; s/^default /GUEST-ROUTE &/p'
}
spoof() {  # KIND ADDRESS TARGET: pretend to be somebody else, and say whether the target answered
    was=$(cat /sys/class/net/eth0/address)
    own=$(ip -4 -o address show dev eth0 | sed -n 's|.* inet \([0-9.]*\).*|\1|p')
    case $1 in
    ip) ip address add "$2/32" dev eth0; own=$2 ;;
    ip6) echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip -6 address add "$2/128" dev eth0; own=$2 ;;
    mac) ip link set eth0 down; ip link set eth0 address "$2"; ip link set eth0 up ;;
    esac
    if ping -c 3 -W 1 -I "$own" "$3" > /dev/null 2>&1; then end=through; else end=stopped; fi
    case $1 in
    ip) ip address del "$2/32" dev eth0 ;;
    ip6) ip -6 address del "$2/128" dev eth0 ;;
    mac) ip link set eth0 down; ip link set eth0 address "$was"; ip link set eth0 up ;;
    esac
    echo "GUEST-SPOOF $1 $2 $end"
}
"""

DHCP_SCRIPT = """#!/bin/sh
# Called by the DHCP client with what happened, and the lease in variables.
case $1 in
bound | renew)
    ip -4 address flush dev "$interface"
    ip address add "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do
        ip route replace default via "$gateway" dev "$interface" metric "${METRIC:-100}"
        break
    done
    for server in $dns; do echo "nameserver $server" >> /run/resolv.conf; done
    [ -z "$hostname" ] || hostname "$hostname" ;;
esac
"""
