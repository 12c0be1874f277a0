#!/usr/bin/env bash
# Runs depsfs on other kernels: Debian's, in a virtual machine without acceleration, as root and as an ordinary user.
# Prints a table: which tests pass, are skipped, fail or take too long on which kernel, and what could not be had.
#
# Kernels come as packages by `apt-get download`, with package lists of their own; nothing is installed. The root file
# system is made by debootstrap and kept for the next run. The tests are built here, with cargo. Needs root.
#
#   scripts/kernels.sh [VERSION…]      default: 5.10 6.1 6.12
#
#   KERNELS_DIR=target/kernels         where packages, the root file system and the logs of the machines stay
#   KERNELS_JOBS=kills,mount           only these: lib kills crash upgrade resent mount cli
#   KERNELS_SECONDS=1500               the most that one job may take in a machine, which is about ten times slower
#   KERNELS_SUITES="bookworm …"        the suites that are searched for kernels
set -euo pipefail
export LC_ALL=C
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(5.10 6.1 6.12)
dir=$(realpath -m "${KERNELS_DIR:-target/kernels}")
seconds=${KERNELS_SECONDS:-1500}
jobs=${KERNELS_JOBS:-lib,kills,crash,upgrade,resent,mount,cli}
uid=65534
key=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=${KERNELS_MIRROR:-http://deb.debian.org}
missing=()

say() { printf '\n== %s\n' "$*"; }

# --- what is needed -------------------------------------------------------------------------------------------------

for need in qemu-system-x86_64:qemu-system-x86 debootstrap:debootstrap busybox:busybox-static cpio:cpio \
    mke2fs:e2fsprogs dpkg:dpkg apt-get:apt cargo:cargo; do
    command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "kernels.sh: please install: ${missing[*]}" >&2
    exit 1
fi
[ "$(id -u)" = 0 ] || { echo "kernels.sh: debootstrap needs root" >&2; exit 1; }

mkdir -p "$dir"/{lists/partial,archives/partial,packages}
work=$(mktemp -d "$dir/run.XXXXXX")
machine=
# Reached by the trap.
# shellcheck disable=SC2317
clean_up() {
    [ -z "$machine" ] || kill "$machine" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- kernels ----------------------------------------------------------------------------------------------------------

apt_options=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$dir/lists"
    -o "Dir::Cache::archives=$dir/archives" -o APT::Sandbox::User=root)
for suite in ${KERNELS_SUITES:-bookworm bookworm-backports security/bookworm-security security/bullseye-security}; do
    case $suite in
        security/*) echo "deb [signed-by=$key] $mirror/debian-security ${suite#security/} main" ;;
        *) echo "deb [signed-by=$key] $mirror/debian $suite main" ;;
    esac
done >"$dir/sources.list"
say "lists of packages"
timeout 300 apt-get "${apt_options[@]}" -q update >"$dir/apt.log" 2>&1 ||
    echo "not all lists could be had ($dir/apt.log): with those that are there"

# kernel_package <version>: the newest one of this line.
kernel_package() {
    apt-cache "${apt_options[@]}" search --names-only "^linux-image-${1//./\\.}\\..*cloud-amd64\$" |
        awk '{ print $1 }' | sort -V | tail -1
}

# kernel_files <version>: unpacks its package in $dir/packages/<package>, and prints that folder.
kernel_files() {
    local package to
    package=$(kernel_package "$1")
    [ -n "$package" ] || return 1
    to=$dir/packages/$package
    if [ ! -d "$to" ]; then
        (cd "$work" && timeout 300 apt-get "${apt_options[@]}" -q download "$package" >>"$dir/apt.log" 2>&1) || return 1
        mkdir "$work/unpacked" && dpkg -x "$work/$package"_*.deb "$work/unpacked" && mv "$work/unpacked" "$to"
        rm -f "$work/$package"_*.deb
    fi
    echo "$to"
}

# --- the root file system ------------------------------------------------------------------------------------------------

if [ ! -x "$dir/root/usr/bin/git" ]; then
    say "a root file system, by debootstrap"
    rm -rf "$dir/root" "$dir/root.new"
    timeout 1800 debootstrap --variant=minbase --include=git,fuse3,python3-minimal,procps,kmod,acl,attr \
        bookworm "$dir/root.new" "$mirror/debian" >"$dir/debootstrap.log" 2>&1 ||
        { tail -5 "$dir/debootstrap.log" >&2; exit 1; }
    rm -rf "$dir"/root.new/var/cache/apt/archives/*.deb
    mv "$dir/root.new" "$dir/root"
fi

say "building the tests"
cargo test --locked --no-run --test mount --test crash --test cli --lib >"$work/built" 2>&1 ||
    { tail -40 "$work/built" >&2; exit 1; }
root=$work/root
cp -a --reflink=auto "$dir/root" "$root"
mkdir -p "$root$top/target/debug/deps" "$root/depsfs"
for program in $(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$work/built"); do
    name=${program##*/}
    strip -o "$root/depsfs/${name%-*}" "$program" || cp "$program" "$root/depsfs/${name%-*}"
done
strip -o "$root$top/target/debug/depsfs" target/debug/depsfs || cp target/debug/depsfs "$root$top/target/debug/depsfs"
cp -a tests Cargo.toml README.md "$root$top/"

cat >"$root/depsfs/agent" <<'AGENT'
#!/bin/sh
# The first process of the machine: does the jobs, and reports each as a line `RESULT <job> <user> <outcome>`.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
mount -t fusectl fusectl /sys/fs/fuse/connections
mount /dev/vdb /tmp && chmod 1777 /tmp; mount -o remount,rw /
mount -t tmpfs tmpfs /run
ip link set lo up 2>/dev/null
chmod 666 /dev/fuse
. /depsfs/settings
echo "KERNEL $(uname -r)"
as_user() {
    mkdir -p /tmp/home/tmp; chown -R $uid:$uid /tmp/home
    setpriv --reuid $uid --regid $uid --clear-groups env -i PATH=$PATH HOME=/tmp/home TMPDIR=/tmp/home/tmp "$@"
}
as_root() { mkdir -p /tmp/root; env TMPDIR=/tmp/root "$@"; }
job() { # job <name> <variable> <program> <filters…>
    name=$1 variable=$2 program=$3; shift 3
    case ,$jobs, in *,$name,*) ;; *) return ;; esac
    for user in root user; do
        echo "JOB $name $user"
        began=$(cut -d. -f1 /proc/uptime)
        as_$user env $variable DEPSFS_CRASH_KILLS=20 DEPSFS_TEST_SLOWER=10 timeout -k 20 $seconds "/depsfs/$program" --test-threads=2 --nocapture "$@" \
            >/tmp/out 2>&1 </dev/null
        code=$?
        took=$(($(cut -d. -f1 /proc/uptime) - began))
        grep -e '\.\.\. FAILED$' -e '^skipped' -e '^test .* has been running' -e pauses /tmp/out | sort | uniq | head -80
        grep -A4 -e 'panicked at' /tmp/out | head -100
        grep -q '^running' /tmp/out || tail -5 /tmp/out
        case $code in 124 | 137) tail -5 /tmp/out; ls /sys/fs/fuse/connections | while read -r c; do
            echo "connection $c waits for $(cat /sys/fs/fuse/connections/$c/waiting)"; done ;; esac
        sum=$(awk '/^test result/ { p += $4; f += $6 } / kills, longest pauses: / { sub(/^.*pauses: /, ""); s = ", pauses " $0 }
            END { printf "%d passed, %d failed%s", p, f, s }' /tmp/out)
        skipped=$(grep -c '^skipped' /tmp/out)
        [ $code = 124 ] || [ $code = 137 ] && sum="over $seconds s ($(grep -c '\.\.\. ok$' /tmp/out) passed)"
        echo "RESULT $name $user $sum, $skipped skipped, $took s"
        # A connection that would wait for ever is ended, so that the next job finds the machine free.
        for c in /sys/fs/fuse/connections/*; do [ -e "$c/abort" ] && echo 1 >"$c/abort"; done 2>/dev/null
        sleep 1
    done
}
. /depsfs/jobs
echo "THE END"
sync
poweroff -f 2>/dev/null || reboot -f 2>/dev/null || echo o >/proc/sysrq-trigger
sleep 60
AGENT
cat >"$root/depsfs/jobs" <<'JOBS'
job lib X=1 depsfs sys:: fuse:: daemon::
job kills X=1 crash
job crash X=1 mount crash::
job upgrade X=1 mount upgrade::
job resent DEPSFS_WITHOUT=resend mount upgrade:: crash::
job mount X=1 mount --skip upgrade:: --skip crash::
job cli X=1 cli create:: life:: doctor:: namespaces::
JOBS
printf 'jobs=%s\nseconds=%s\nuid=%s\n' "$jobs" "$seconds" "$uid" >"$root/depsfs/settings"
chmod 755 "$root/depsfs/agent"
mke2fs -q -t ext4 -d "$root" "$work/root.img" 3G
rm -rf "$root"
truncate -s 8G "$work/data.img"
mke2fs -q -t ext4 -F "$work/data.img"

# initramfs <folder of the kernel's files> <file to make>
# In the order in which they need each other.
modules='virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk failover net_failover
virtio_net crc16 crc32c_generic mbcache jbd2 ext4 fuse overlay loop'
initramfs() {
    local files=$1 made=$work/initramfs module file
    rm -rf "$made"
    mkdir -p "$made"/{bin,m,proc,dev,new}
    cp "$(command -v busybox)" "$made/bin/busybox"
    for module in $modules; do
        file=$(find "$files" -name "$module.ko*" | head -1)
        [ -z "$file" ] || cp "$file" "$made/m/"
    done
    find "$made/m" -name '*.xz' -exec xz -d {} +
    cat >"$made/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for m in $(echo $modules); do [ ! -e /m/\$m.ko ] || /bin/busybox insmod /m/\$m.ko; done
n=0; while [ ! -e /dev/vda ] && [ \$n -lt 50 ]; do /bin/busybox sleep 0.2; n=\$((n + 1)); done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox umount /proc
exec /bin/busybox switch_root /new /depsfs/agent
INIT
    chmod 755 "$made/init"
    (cd "$made" && find . | cpio --quiet -o -H newc | gzip -1) >"$2"
}

# --- the machines --------------------------------------------------------------------------------------------------------

for version in "${versions[@]}"; do
    log=$dir/$version.log
    if ! files=$(kernel_files "$version"); then
        echo "NOT HAD no kernel $version in: ${KERNELS_SUITES:-Debian bookworm, its backports and security, bullseye security}" >"$log"
        cat "$log"
        continue
    fi
    say "$version: ${files##*/}, log in $log"
    initramfs "$files" "$work/initramfs.gz"
    # All jobs, each as root and as a user, and the start.
    limit=$((seconds * 2 * $(echo "$jobs" | tr , '\n' | wc -l) + 300))
    timeout -k 10 "$limit" qemu-system-x86_64 -M q35 -cpu max -accel tcg,thread=multi,tb-size=512 -smp 2 -m 3584 \
        -nographic -no-reboot -nic none -kernel "$(ls "$files"/boot/vmlinuz-*)" -initrd "$work/initramfs.gz" \
        -append 'console=ttyS0 panic=5 mitigations=off nokaslr quiet' \
        -drive "file=$work/root.img,if=virtio,format=raw,cache=unsafe,snapshot=on" \
        -drive "file=$work/data.img,if=virtio,format=raw,cache=unsafe,snapshot=on" </dev/null >"$log" 2>&1 &
    machine=$!
    code=0
    wait "$machine" || code=$?
    machine=
    [ "$code" = 0 ] || echo "THE MACHINE ENDED WITH $code" >>"$log"
    tr -d '\r' <"$log" | grep -a -e '^RESULT' -e '^KERNEL' -e '^THE MACHINE' || tail -5 "$log"
done

# --- the table -----------------------------------------------------------------------------------------------------------

say "the table"
{
    printf '| kernel | job | as | outcome |\n|---|---|---|---|\n'
    for version in "${versions[@]}"; do
        tr -d '\r' <"$dir/$version.log" | awk -v v="$version" '
            /^KERNEL/ { v = $2 }
            /^RESULT/ { job = $2; as = $3; sub(/^RESULT [^ ]* [^ ]* /, ""); printf "| %s | %s | %s | %s |\n", v, job, as, $0; n++ }
            /^NOT HAD/ { sub(/^NOT HAD /, ""); printf "| %s | | | not had: %s |\n", v, $0; n++ }
            /^THE MACHINE/ { printf "| %s | | | the machine did not end by itself |\n", v }
            END { if (!n) printf "| %s | | | no result |\n", v }'
    done
} | tee "$dir/table.md"
