"""What runs inside the guest, and the lines by which it tells of itself on its console.

::

    GUEST-UP t=SECONDS
    GUEST-IP eth0 10.0.0.5/24 mac=..       and more of its NICs: see ``network_script.py``
    GUEST-HOSTNAME ce
    GUEST-CONTEXT from=fw_cfg               and more about what it was told: see ``context_script.py``
    GUEST-DISK scratch ext4 /mnt/scratch rw mb=61 ok    for "disk" in the context; "failed" in place of "ok"
    GUEST-READY t=SECONDS
    GUEST-SPOOF mac 02:.. through           for "spoof ip|ip6|mac ADDRESS TARGET" in the context; or "stopped"
    GUEST-PEER NAME 10.0.0.6 ok             for "peer NAME IP" and "member NAME ROLE IP[,IP]" in the context
"""

from flyinglow.nodectl.guest.network_script import NETWORK_SCRIPT

ROOT_PARAMETER = "lease.root"
READY_MARK = "GUEST-READY"

EARLY_INIT = """#!/bin/busybox sh
# Load the disk driver, find the root disk, go on there.
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sysfs /sys
$B mount -t devtmpfs dev /dev 2>/dev/null
echo 2 > /proc/sys/kernel/printk
while read -r module; do $B insmod "/modules/$module" 2>/dev/null; done < /modules/order
root=
for word in $($B cat /proc/cmdline); do
    case $word in lease.root=*) root=${word#*=} ;; esac
done
tries=0
while [ ! -b "$root" ] && [ $tries -lt 50 ]; do $B usleep 100000; tries=$((tries + 1)); done
if ! $B mount -t ext4 "$root" /disk; then
    echo "GUEST-NOROOT $root"
    $B poweroff -f
fi
$B umount /sys
$B mount --move /dev /disk/dev
$B mount --move /proc /disk/proc
exec $B switch_root /disk /init
"""

INIT = (
    """#!/bin/sh
# The guest's only program: introduce yourself, then wait for the power button.
export PATH=/bin
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
exec < /dev/console > /dev/console 2>&1
read -r up _ < /proc/uptime
echo "GUEST-UP t=$up"
while read -r module; do insmod "/modules/$module" 2>/dev/null; done < /modules/order

mdev -s
. /etc/context.sh
find_context
"""
    + NETWORK_SCRIPT
    + """bring_up_all
take_context
echo "GUEST-HOSTNAME $(hostname)"

disk() {  # NUMBER NAME FILESYSTEM MOUNT rw|ro
    letter=$(echo abcdefghijklmnop | cut -c $(($1 + 1)))
    for device in /dev/vd$letter /dev/xvd$letter; do
        [ -b "$device" ] || continue
        if [ "$3" = swap ]; then
            swapon "$device" && size=$(awk -v device="$device" '$1 == device {print int($3 / 1024)}' /proc/swaps)
        else
            mkdir -p "$4" && mount -t "$3" -o "$5" "$device" "$4" && size=$(df -m "$4" | tail -n 1 | awk '{print $2}')
        fi && { echo "GUEST-DISK $2 $3 $4 $5 mb=$size ok"; return; }
    done
    echo "GUEST-DISK $2 $3 $4 $5 failed"
}
[ -s $context ] && while read -r word number name form mount mode _ || [ -n "$word" ]; do
    case $word in disk) disk "$number" "$name" "$form" "$mount" "$mode" 2>&1 ;; esac
done < $context

press() {  # end in order when the power button's key goes down
    while event=$(dd bs=24 count=1 2>/dev/null | hexdump -v -e '1/1 "%02x"') && [ -n "$event" ]; do
        case $event in
        ????????????????????????????????0100740001000000) echo GUEST-POWERBUTTON; sync; poweroff -f ;;
        esac
    done
}
for device in /dev/input/event*; do
    [ -c "$device" ] || continue
    exec 5< "$device"  # opened here and now: what is pressed from now on is not lost
    press <&5 &
    exec 5<&-
done

peer() {  # NAME IP: on a link of our own?  then it must answer within a minute
    case $2 in *:*) family=-6 ;; *) family=-4 ;; esac
    case $(ip $family route get "$2" 2>/dev/null) in
    '' | *' via '* | *' dev lo '* | local*) return ;;
    esac
    tries=0
    while [ $tries -lt 60 ]; do
        if ping -c 1 -W 1 "$2" > /dev/null 2>&1; then echo "GUEST-PEER $1 $2 ok"; return; fi
        tries=$((tries + 1))
        usleep 200000
    done
    echo "GUEST-PEER $1 $2 failed"
}
play_roles
serve_ssh
read -r up _ < /proc/uptime
echo "GUEST-READY t=$up"
report &
[ -s $context ] && while read -r word kind address target _; do
    [ "$word" != spoof ] || spoof "$kind" "$address" "$target"
done < $context
[ -s $context ] && while read -r word name third fourth _ || [ -n "$word" ]; do
    case $word in
    peer) peer "$name" "$third" & ;;
    member) for address in $(echo "$fourth" | tr , ' '); do peer "$name" "$address" & done ;;
    esac
done < $context
trap 'echo GUEST-POWEROFF; sync; poweroff -f' USR2  # busybox's poweroff, which Xen's kernel calls
trap 'echo GUEST-REBOOT; sync; reboot -f' TERM INT
while :; do sleep 3600 & wait $!; done
"""
)
