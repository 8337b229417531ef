#!/bin/bash
# Make sure that the Debian packages a target needs are there.
#
#   tools/system-packages.sh demo|demo-slurm|demo-gridengine|test|test-xen|bench
#
# As root on a Debian system it installs what is missing, and nothing else; no
# service is started by it. Anybody else is told what is missing, and the
# caller goes on: what then cannot run says so itself.
set -eu

target=${1:-demo}
python=${PYTHON:-python3}

demo="qemu-system-x86 qemu-utils seabios iproute2 util-linux e2fsprogs dnsmasq-base nftables sudo xorriso"
slurm="$demo slurm-wlm munge"
# Grid Engine itself is unpacked, not installed, because it owns the same command names as other batch schedulers.
gridengine="$demo libhwloc15 libjemalloc2 libmunge2 libtirpc3 libdb5.3 tcsh"
test="$slurm $gridengine openssh-server openssh-client openssl postgresql php-cli php-soap php-xml nodejs npm procps iputils-ping iptables openssl libvirt-daemon-system libvirt-daemon-driver-qemu python3-libvirt globus-proxy-utils voms-clients"
bench="$test wrk"
xen="$slurm openssh-client mmdebstrap kmod dpkg"

case $target in
    demo) wanted=$demo ;;
    demo-slurm) wanted=$slurm ;;
    demo-gridengine) wanted=$gridengine ;;
    test) wanted=$test ;;
    bench) wanted=$bench ;;
    test-xen) wanted=$xen ;;
    *)
        echo "usage: $0 demo|demo-slurm|demo-gridengine|test|test-xen|bench" >&2
        exit 64
        ;;
esac

# Debian's own Python comes without ensurepip; any other brings it along.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    wanted="$wanted python3 python3-venv"
fi

installed() {
    case $1 in
        # A Node.js from elsewhere brings npm inside, and clashes with Debian's.
        nodejs) command -v node >/dev/null 2>&1 && return 0 ;;
        npm) command -v npm >/dev/null 2>&1 && return 0 ;;
    esac
    case " $present " in *" $1 "*) return 0 ;; esac
    return 1
}

lists_empty() {
    [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -print -quit 2>/dev/null)" ]
}

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    echo "system packages: this is not a Debian system; these packages, or their like, are needed: $wanted"
    exit 0
fi

# shellcheck disable=SC2086  # the list is meant to be split
present=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' $wanted 2>/dev/null | sed -n 's/^ii *//p' | tr '\n' ' ' || true)
missing=""
for package in $wanted; do
    installed "$package" || missing="$missing $package"
done

if [ "$(id -u)" -ne 0 ]; then
    if [ -n "$missing" ]; then
        echo "system packages: not root, so nothing is installed; missing:$missing"
        echo "system packages: what needs them will say so or do without; root may run: tools/system-packages.sh $target"
    fi
    exit 0
fi

# The guest builder downloads packages too, hence lists must be there in any case.
if [ -z "$missing" ] && ! lists_empty; then
    exit 0
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
echo "system packages: reading the package lists"
apt-get update -qq
if [ -n "$missing" ]; then
    echo "system packages: installing$missing"
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $missing >/dev/null
fi
