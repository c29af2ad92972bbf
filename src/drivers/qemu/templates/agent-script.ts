/**
 * What the agent of a guest runs to take on the identity of a clone: for a shell of POSIX, with the programs there
 * are of Debian, Fedora, Alpine and busybox. It reads the lines that a hook would be told (guest-hook.ts).
 */

/**
 * A file for Linux on x86_64 that does `ioctl(open("/dev/urandom"), RNDRESEEDCRNG)`, random(4), for guests that have
 * neither perl nor python: `push $2; pop %rax; lea path(%rip),%rdi; push $1; pop %rsi; syscall; xchg %eax,%edi;
 * push $16; pop %rax; mov $0x5207,%esi; syscall; xchg %eax,%edi; neg %edi; push $60; pop %rax; syscall`.
 */
const reseedProgram =
  'f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAA' +
  'AEAAAAAAAAAAQAAAAAAApwAAAAAAAACnAAAAAAAAAAAQAAAAAAAAagJYSI09GAAAAGoBXg8Fl2oQWL4HUgAADwWX999qPFgPBS9kZXYvdXJh' +
  'bmRvbQA='

export const agentScript = `PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin
reseed() {
  perl -e 'open F, "+<", "/dev/urandom" and ioctl F, 0x5207, 0 or exit 1' && return
  python3 -c 'import fcntl; fcntl.ioctl(open("/dev/urandom", "wb"), 0x5207)' && return
  [ "$(uname -m)" = x86_64 ] && folder=$(mktemp -d) || return
  echo ${reseedProgram} | base64 -d >"$folder/reseed"
  chmod 700 "$folder/reseed" && "$folder/reseed"
  rm -rf "$folder"
}
rename() {
  read -r old </proc/sys/kernel/hostname
  echo "$1" >/proc/sys/kernel/hostname
  [ -f /etc/hostname ] && echo "$1" >/etc/hostname
  [ -f /etc/hosts ] && sed -i "s/\\([[:space:]]\\)$old\\([[:space:].]\\|\\$\\)/\\1$1\\2/g" /etc/hosts
}
identify() {
  echo "$1" >/etc/machine-id
  other=/var/lib/dbus/machine-id
  [ -f $other ] && [ ! -L $other ] && echo "$1" >$other
}
move() {
  for path in /sys/class/net/*; do
    read -r address <"$path/address" && [ "$address" = "$1" ] || continue
    link=\${path##*/}
    ip link set dev "$link" address "$2" && continue
    ip link set dev "$link" down
    ip link set dev "$link" address "$2"
    ip link set dev "$link" up
  done
}
renew() {
  if systemctl -q is-active systemd-networkd; then
    networkctl reconfigure "$1"
  elif systemctl -q is-active NetworkManager; then
    nmcli device disconnect "$1"
    nmcli device connect "$1"
  elif ifquery --state "$1" || ifquery -r | grep -qx "$1"; then
    ifdown --force "$1"
    ifup "$1"
  elif pidof dhclient; then
    dhclient -r "$1"
    dhclient "$1"
  else
    for pid in $(pidof udhcpc); do
      command=$(tr '\\0' ' ' <"/proc/$pid/cmdline")
      case $command in *" $1 "*) kill "$pid" && $command ;; esac
    done
  fi
}
{
  while read -r word first second; do
    case $word in
    entropy)
      echo "$first" >/dev/urandom
      reseed
      ;;
    machine-id) identify "$first" ;;
    hostname) rename "$first" ;;
    time) date -s "@$first" ;;
    mac) move "$first" "$second" ;;
    network)
      for path in /sys/class/net/*; do
        [ -e "$path/device" ] && renew "\${path##*/}" </dev/null &
      done
      ;;
    esac
  done
} >/dev/null 2>&1
exit 0
`
