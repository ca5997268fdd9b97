#!/bin/sh
# Installs Kennel from this archive, or a newer one over an older one; see --help.
set -eu

usage() {
    cat <<'EOF'
Usage: ./install.sh [--root DIRECTORY]
       ./install.sh --uninstall [--root DIRECTORY]

Installs Kennel, or a newer version of it over an older one, and restarts what has to be: no request
is dropped, and builds and deployed services go on. It never starts Kennel for the first time.

  --root DIRECTORY  the tree to install into, such as an image; no user is made there, and nothing
                    is checked or restarted [default: /]
  --uninstall       stop Kennel and everything that it has deployed, and remove its programs;
                    /etc/kennel, /var/lib/kennel and users stay
EOF
}

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

root=/
uninstall=no
while [ $# -gt 0 ]; do
    case "$1" in
    --root)
        [ $# -gt 1 ] || fail "--root needs a directory" 2
        root=$2
        shift
        ;;
    --root=*) root=${1#--root=} ;;
    --uninstall) uninstall=yes ;;
    --help | -h)
        usage
        exit 0
        ;;
    *) fail "there is no option \`$1'; see --help" 2 ;;
    esac
    shift
done
[ -d "$root" ] || fail "there is no directory $root" 2
root=$(cd "$root" && pwd -P)
[ "$root" != / ] || root=
here=$(cd "$(dirname "$0")" && pwd -P)
# What was installed last, to be removed one day: one path a line, and folders that were not there
# with a slash at their end.
list=/usr/lib/kennel/installed-files
live=no
[ -n "$root" ] || [ ! -d /run/systemd/system ] || live=yes

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "it must run as root: try \`sudo $0'"

# As the package's prerm does it: units of this archive, and of deployments, and nobody else's.
own_units() {
    sed -n "s,^/usr/lib/systemd/system/\(kennel.*\.\($1\)\)\$,\1,p" "$list" | sed 's,@\.,@*.,'
}

deployed_units() {
    grep -ls '^\[X-Kennel\]$' /etc/systemd/system/kennel-* /run/systemd/system/kennel-* |
        sed 's,.*/,,'
}

stop_everything() {
    systemctl disable --quiet kennel.target || true
    # Jobs see that all of Kennel stops; then deployed services.
    systemctl stop kennel.target || true
    # Names of units have no spaces, and are meant to be split.
    # shellcheck disable=SC2046
    systemctl stop $(own_units 'socket\|path\|timer') 'kennel-teardown@*.timer' || true
    # shellcheck disable=SC2046
    systemctl stop $(own_units service) $(deployed_units) kennel.slice || true
}

check_no_package() {
    if [ "$(dpkg-query --show --showformat='${db:Status-Status}' kennel 2>/dev/null)" = installed ]; then
        fail "Kennel is here as a Debian package: upgrade and remove it with apt-get"
    fi
}

check_host() {
    missing=
    for needed in "systemctl:systemd" "git:git" "nix:Nix" "dbus-send busctl:D-Bus" \
        "systemd-sysusers:systemd-sysusers" "systemd-tmpfiles:systemd-tmpfiles"; do
        found=no
        for command in ${needed%%:*}; do
            if command -v "$command" >/dev/null; then found=yes; fi
        done
        [ "$found" = yes ] || missing="$missing ${needed##*:},"
    done
    polkit=no
    for program in /usr/lib/polkit-1/polkitd /usr/libexec/polkitd /usr/lib/polkitd; do
        [ ! -x "$program" ] || polkit=yes
    done
    [ "$polkit" = yes ] || missing="$missing polkit,"
    if [ -n "$missing" ]; then
        fail "this host lacks${missing%,}; install that first"
    fi
    version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    if [ "${version:-0}" -lt 254 ]; then
        fail "this host has systemd ${version:-of an unknown version}, and Kennel needs 254 or newer"
    fi
    if [ ! -S /nix/var/nix/daemon-socket/socket ]; then
        fail "the Nix daemon does not run: Kennel needs Nix installed for several users"
    fi
}

# Makes a folder, and says which were missing, the deepest last.
make_folder() {
    [ ! -d "$root$1" ] || return 0
    make_folder "$(dirname "$1")"
    mkdir "$root$1"
    echo "$1/"
}

# Under a temporary name and renamed over the old one: a program that runs stays what it is.
put() {
    make_folder "$(dirname "$1")"
    cp "$here/tree$1" "$root$1.new"
    case "$1" in
    /usr/bin/* | /usr/lib/kennel/*) chmod 755 "$root$1.new" ;;
    *) chmod 644 "$root$1.new" ;;
    esac
    mv -f "$root$1.new" "$root$1"
}

install_files() {
    files=$(cd "$here/tree" && find . -type f | sed 's/^\.//' | LC_ALL=C sort)
    [ -n "$files" ] || fail "there is no tree beside $0: unpack the whole archive"
    old=
    [ ! -f "$root$list" ] || old=$(cat "$root$list")
    # Paths of the product have no spaces, and are meant to be split.
    # shellcheck disable=SC2086
    write_list() {
        printf '%s\n' $old | grep '/$' || true
        printf '%s\n' $made $files
    }
    made=
    for file in $files; do
        made="$made $(put "$file")"
    done
    write_list >"$root$list.new"
    mv -f "$root$list.new" "$root$list"
    # What the older version had, and this one has not.
    for file in $old; do
        if ! grep -qxF "$file" "$root$list"; then
            rm -f "$root$file"
        fi
    done
}

[ "$live" = no ] || check_no_package
if [ "$uninstall" = yes ]; then
    [ -f "$root$list" ] || fail "Kennel was not installed into ${root:-/} by this script"
    [ "$live" = no ] || stop_everything
    grep -v '/$' "$root$list" | while read -r file; do
        rm -f "$root$file"
    done
    folders=$(grep '/$' "$root$list" | LC_ALL=C sort -r)
    rm -f "$root$list"
    for folder in $folders; do
        # Somebody may have put something there since.
        rmdir "$root$folder" 2>/dev/null || true
    done
    if [ "$live" = yes ]; then
        systemctl daemon-reload
        # Out of the slice for builds, which is gone.
        systemctl try-restart nix-daemon.service || true
        systemctl stop builds.slice || true
    fi
    echo "Kennel is removed; /etc/kennel and /var/lib/kennel stay."
    exit 0
fi

[ "$live" = no ] || check_host
first=no
[ -f "$root$list" ] || first=yes
install_files
if [ "$live" = yes ]; then
    # Users before directories, which belong to them.
    systemd-sysusers
    systemd-tmpfiles --create || true
    systemctl daemon-reload
    # Builds are limited by a slice in which the Nix daemon must be from its start on.
    [ "$first" = no ] || systemctl try-restart nix-daemon.service
    if systemctl is-active --quiet kennel.target; then
        # What the new version brings besides, too.
        systemctl start kennel.target
        systemctl try-restart kennel-router.service kennel-dispatch.service
        # These leave when idle, which they are not as long as requests come.
        systemctl try-restart kennel-webhook.service kennel-api.service
    fi
fi
if [ "$first" = yes ]; then
    echo "Kennel is installed and not started. Write /etc/kennel/config.toml, which needs one line"
    echo "(base_domain = \"example.com\"; man kennel-config), then run:"
    echo "  systemctl enable --now kennel.target"
else
    echo "Kennel is upgraded."
fi
