"""How the packaged guest takes what it is told, does something with it, and reports: part of its first program.

The guest reads the same from each of the ways (``nodectl/context/ways.py``): a volume labelled ``cidata``, QEMU's
fw_cfg, or files that were written into its image. It says on its console what it has found and done::

    GUEST-CONTEXT from=fw_cfg               or "from=volume", "from=image", or "none"
    GUEST-CTX| ...                          each line of the context, but for the word by which it reports
    GUEST-USERDATA bytes=17                 when there is user data
    GUEST-HOSTS 4                           members' lines in /etc/hosts
    GUEST-KEY 2                             keys of lessees that may log in
    GUEST-FILE /etc/app.conf 640 SHA256     one a file
    GUEST-SSH on                            dropbear listens, where there are keys
    GUEST-ROLE provides ROLE ok             or "failed", or "none" when /etc/flyinglow/roles/ROLE is not there
    GUEST-ROLE requires ROLE MEMBER 10.0.0.6    one a member of that role; or "missing"
    GUEST-REPORTED ok                       to the service's context endpoint; or "error", or "failed"
    GUEST-VALUE MEMBER NAME VALUE           what another member has reported
    GUEST-JOINED ok                         all that is required has reported, and /etc/flyinglow/joined went well

A role's program is any executable file of the lessee's. What it prints as ``value NAME VALUE`` is reported to the other
members; its exit status says whether this machine is well.
"""

CONTEXT_SCRIPT = r"""# Take what this machine is told; read by the first program.
context=/run/context
HOME=$(sed -n 's/^root:.*:\([^:]*\):[^:]*$/\1/p' /etc/passwd)
export HOME
ours='name|hostname|role|requires|nic|disk|member|value|endpoint|token|peer|spoof'

find_context() {
    fw_cfg=/sys/firmware/qemu_fw_cfg/by_name/opt
    volume=$(findfs LABEL=cidata 2>/dev/null)
    if [ -n "$volume" ] && mkdir -p /run/volume && mount -o ro "$volume" /run/volume 2>/dev/null; then
        way=volume text=/run/volume/lease/context data=/run/volume/lease/user-data files=/run/volume/lease/files.tar
    elif [ -d $fw_cfg ]; then
        way=fw_cfg text=$fw_cfg/lease/context/raw data=$fw_cfg/flyinglow/user-data/raw
        files="$fw_cfg/flyinglow/files/*/raw"
    else
        way=image text=/etc/flyinglow/context data=/etc/flyinglow/user-data files=
    fi
    : > $context
    chmod 600 $context
    if cat "$text" > $context 2>/dev/null && [ -s $context ]; then
        echo "GUEST-CONTEXT from=$way"
        while IFS= read -r line || [ -n "$line" ]; do
            case $line in 'token '*) line='token (not shown)' ;; esac
            printf 'GUEST-CTX| %s\n' "$line"
        done < $context
    else
        echo "GUEST-CONTEXT none"
    fi
    if [ -r "$data" ]; then
        cat "$data" > /run/user-data
        echo "GUEST-USERDATA bytes=$(stat -c %s /run/user-data)"
    fi
}

facts() {  # WORD: what stands behind this word in the context, one a line
    sed -n "s/^$1 //p" $context
}

name_myself() {
    case $(hostname) in '' | '(none)') hostname "$(facts hostname | head -n 1)" ;; esac
    hostname > /etc/hostname
}

write_hosts() {
    facts member | while read -r name _ addresses hosts; do
        names=" $name"
        for address in $(echo "$addresses" | tr , ' '); do
            host=${hosts%% *}
            host=${host#*=}
            case $hosts in *' '*) hosts=${hosts#* } ;; esac
            [ "$address" = - ] || echo "$address ${host:-$name}$names"
            names=
        done
    done > /run/hosts
    { echo '127.0.0.1 localhost'; echo '::1 localhost'; cat /run/hosts; } > /etc/hosts
    echo "GUEST-HOSTS $(wc -l < /run/hosts)"
}

write_keys() {
    mkdir -p -m 700 $HOME/.ssh
    grep -vE "^($ours) " $context | grep -E '(^| )(ssh|ecdsa|sk)-[^ ]+ [A-Za-z0-9+/=]+' > $HOME/.ssh/authorized_keys
    chmod 600 $HOME/.ssh/authorized_keys
    echo "GUEST-KEY $(wc -l < $HOME/.ssh/authorized_keys)"
}

write_files() {
    if [ -n "$files" ] && cat $files > /run/files.tar 2>/dev/null; then
        tar -x -v -f /run/files.tar -C / | sed 's|^|/|' > /run/files
        rm /run/files.tar
    elif [ -r /etc/flyinglow/files ] && [ "$way" = image ]; then
        cat /etc/flyinglow/files > /run/files
    fi
    [ -r /run/files ] && while IFS= read -r path; do
        sum=$(sha256sum < "$path")
        echo "GUEST-FILE $path $(stat -c %a "$path") ${sum%% *}"
    done < /run/files
}

take_context() {
    [ -e $context ] || find_context
    name_myself
    [ -s $context ] && write_hosts && write_keys
    write_files
}

serve_ssh() {
    [ -x /bin/dropbear ] && [ -s $HOME/.ssh/authorized_keys ] || return 0
    mkdir -p /dev/pts && mount -t devpts devpts /dev/pts 2>/dev/null
    key=/etc/dropbear/host_key
    [ -s $key ] || dropbearkey -t ed25519 -f $key > /dev/null 2>&1
    dropbearkey -y -f $key 2>/dev/null | sed -n 's/^\(ssh-[^ ]* [^ ]*\).*/value hostkey \1/p' >> /run/values
    dropbear -s -j -k -r $key && echo 'GUEST-SSH on'
}

those_of_role() {  # ROLE: names and addresses of the members that have it
    facts member | while read -r name roles addresses _; do
        case ,$roles, in *",$1,"*) echo "$name $addresses" ;; esac
    done
}

play_roles() {
    : >> /run/values
    facts role > /run/roles
    while read -r role; do
        hook=/etc/flyinglow/roles/$role
        end=none
        if [ -x "$hook" ]; then
            if "$hook" < /dev/null > "/run/role-$role" 2>&1; then end=ok; else end=failed; fi
            grep '^value ' "/run/role-$role" >> /run/values
            [ $end = ok ] || echo "role $role: $(tail -n 1 "/run/role-$role")" >> /run/trouble
        fi
        echo "GUEST-ROLE provides $role $end"
    done < /run/roles
    facts requires > /run/required
    while read -r role; do
        found=$(those_of_role "$role")
        [ -n "$found" ] || echo "GUEST-ROLE requires $role missing"
        [ -z "$found" ] || echo "$found" | sed "s/^/GUEST-ROLE requires $role /"
    done < /run/required
}

quoted() {  # TEXT as a string of JSON
    printf '"%s"' "$(printf %s "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

message() {
    status=ok
    [ ! -s /run/trouble ] || status=error
    printf '{"status": "%s", "message": %s, "values": {' $status "$(quoted "$(head -n 1 /run/trouble 2>/dev/null)")"
    comma=
    while read -r _ name text; do
        printf '%s%s: %s' "$comma" "$(quoted "$name")" "$(quoted "$text")"
        comma=', '
    done < /run/values
    printf '}}'
}

ask() {  # PATH [BODY]: of the service's context endpoint
    path=$1
    shift
    set -- ${1:+--header 'Content-Type: application/json' --post-data "$1"}
    timeout 10 wget -q -O - --header "Authorization: Bearer $(facts token)" "$@" "$(facts endpoint)/$path" 2>/dev/null
}

report() {
    [ -n "$(facts endpoint)" ] || return 0
    body=$(message)
    tries=0
    until ask report "$body" > /dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || { echo 'GUEST-REPORTED failed'; return 1; }
        sleep 1
    done
    if [ -s /run/trouble ]; then echo 'GUEST-REPORTED error'; else echo 'GUEST-REPORTED ok'; fi
    join
}

known_hosts() {  # of the members' host keys, by all their names and addresses
    sed -n 's/^value \([^ ]*\) hostkey /\1 /p' /run/members | while read -r name key; do
        sed -n "s/^member $name [^ ]* //p" /run/members | while read -r addresses hosts; do
            echo "$name$(echo " $addresses $hosts" | sed 's/ [^ =]*=/,/g; s/ -//; s/ /,/g') $key"
        done
    done
}

join() {  # wait until all that are required have reported, then let the lessee's program use what they said
    tries=0
    until ask members > /run/members && ! grep -q '^missing ' /run/members; do
        tries=$((tries + 1))
        [ $tries -lt 120 ] || { echo 'GUEST-JOINED failed'; return 1; }
        sleep 1
    done
    sed -n 's/^value /GUEST-VALUE /p' /run/members
    known_hosts > $HOME/.ssh/known_hosts
    if [ -x /etc/flyinglow/joined ]; then
        /etc/flyinglow/joined < /dev/null > /run/joined 2>&1 || { echo 'GUEST-JOINED failed'; return 1; }
    fi
    echo 'GUEST-JOINED ok'
}
"""
