/**
 * What the micro guest runs: a few files for busybox. Its init reads the modalias of every device and loads
 * what fits, so one archive serves every machine that has a driver in it.
 */

/** The first program: prepares the machine, then becomes busybox's init, which keeps the shells running. */
export const initScript = `#!/bin/busybox sh
export PATH=/sbin:/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp

read -r line </proc/cmdline
name=micro
for word in $line; do
  case $word in visor.hostname=*) name=\${word#*=} ;; esac
done
echo "$name" >/proc/sys/kernel/hostname
echo "127.0.0.1 localhost $name" >/etc/hosts
read -r id </proc/sys/kernel/random/uuid
echo "\${id//-/}" >/etc/machine-id

# Loading one driver makes new devices appear: PCI cards first, then what they carry.
for bus in platform pci acpi virtio; do
  modprobe -qa $(cat /sys/bus/$bus/devices/*/modalias 2>/dev/null | sort -u) 2>/dev/null
done
modprobe -qa evdev af_packet 2>/dev/null
# Disks behind a SCSI or ATA card are looked for in the background; their driver waits for them.
[ -d /sys/class/scsi_host/host0 ] && modprobe -qa sd_mod sr_mod 2>/dev/null

[ -e /dev/input/event0 ] && acpid -l /run/acpid.log -p /run/acpid.pid
ip link set lo up
for link in /sys/class/net/*; do
  link=\${link##*/}
  [ "$link" = lo ] && continue
  ip link set "$link" up
  udhcpc -b -S -i "$link" -s /etc/udhcpc.script -x "hostname:$name" >/dev/null 2>&1 &
done
# Once it has written its process id it listens; a button pressed before would be lost.
tries=0
while [ -e /dev/input/event0 ] && [ ! -e /run/acpid.pid ] && [ $tries -lt 100 ]; do
  tries=$((tries + 1))
  usleep 5000
done

read -r consoles </sys/class/tty/console/active
for console in $consoles; do
  [ "$console" = tty0 ] && console=tty1
  echo "$console::respawn:-/bin/sh"
done >/etc/inittab
cat >>/etc/inittab <<END
::ctrlaltdel:/sbin/reboot
END
[ -d /sys/class/virtio-ports ] && echo "::once:/sbin/visor-guest" >>/etc/inittab
echo "::respawn:/bin/uevent /sbin/visor-uevent" >>/etc/inittab
exec /bin/init
`

/** Called for each event of the kernel's: loads the driver of what is plugged in, and brings up its links. */
export const ueventScript = `#!/bin/busybox sh
export PATH=/sbin:/bin
[ "$ACTION" = add ] || exit 0
[ -n "$MODALIAS" ] && modprobe -q "$MODALIAS"
[ "$SUBSYSTEM" = net ] && [ "$INTERFACE" != lo ] || exit 0
ip link set "$INTERFACE" up
udhcpc -b -S -i "$INTERFACE" -s /etc/udhcpc.script >/dev/null 2>&1 &
`

/**
 * Lets the host tell a copy of a running guest who it is, over the virtio port 'org.visor.guest.0'. A line is
 * one thing to do; unknown ones are passed over. 'ping' and 'done' are answered with the word they come with.
 * A host that is not there reads as the end of the file: it is looked for again every second. Where there is a
 * program for it, that listens, and leaves the shell what is not urgent.
 */
export const guestScript = `#!/bin/busybox sh
export PATH=/sbin:/bin
until [ -n "$port" ]; do
  for entry in /sys/class/virtio-ports/*; do
    read -r name <"$entry/name" && [ "$name" = org.visor.guest.0 ] && port=/dev/\${entry##*/}
  done 2>/dev/null
  [ -n "$port" ] || sleep 1
done
exec 3<>"$port"
trap '' PIPE
if [ -x /sbin/guest-hook ]; then
  mkfifo /run/guest-hook
  guest-hook <&3 >&3 3>/run/guest-hook &
  exec 4</run/guest-hook
else
  exec 4<&3
fi
links=
while true; do
  while read -r -n 512 word first second <&4; do
    case $word in
    ping) echo "pong $first" >&3 ;;
    hostname) echo "$first" >/proc/sys/kernel/hostname ;;
    machine-id) echo "$first" >/etc/machine-id ;;
    time) date -s "@$first" >/dev/null ;;
    entropy) echo "$first" >/dev/urandom ;;
    mac)
      for link in /sys/class/net/*; do
        read -r address <"$link/address"
        [ "$address" = "$first" ] || continue
        link=\${link##*/}
        case " $links " in *" $link "*) ;; *) links="$links $link" ;; esac
        ip link set dev "$link" address "$second"
      done
      ;;
    network)
      [ -n "$links" ] && killall udhcpc 2>/dev/null
      read -r name </proc/sys/kernel/hostname
      echo "127.0.0.1 localhost $name" >/etc/hosts
      for link in $links; do
        ip address flush dev "$link"
        udhcpc -b -S -i "$link" -s /etc/udhcpc.script -x "hostname:$name" >/dev/null 2>&1 3>&- 4>&- &
      done
      links=
      ;;
    done) echo "done $first" >&3 ;;
    esac
  done
  sleep 1
done
`

/** Puts what the DHCP server gave into force; busybox's udhcpc runs it. */
export const dhcpScript = `#!/bin/busybox sh
export PATH=/bin
case $1 in
deconfig)
  ip address flush dev "$interface"
  ;;
bound | renew)
  ip address flush dev "$interface"
  ip address add "$ip/\${mask:-24}" \${broadcast:+broadcast "$broadcast"} dev "$interface"
  for gateway in $router; do
    ip route add default via "$gateway" dev "$interface" && break
  done
  : >/run/resolv.conf
  [ -n "$domain" ] && echo "search $domain" >>/run/resolv.conf
  for server in $dns; do
    echo "nameserver $server" >>/run/resolv.conf
  done
  ;;
esac
`

/** Every login shell reads it: the banner and a prompt that says where one is. */
export const profile = `export PATH=/sbin:/bin HOME=/root TERM=\${TERM:-linux}
# The shell would take busybox's own, before any file.
alias poweroff=/sbin/poweroff reboot=/sbin/reboot halt=/sbin/halt
cd /root
PS1='\\h:\\w\\$ '
cat <<END

visor micro guest '$(hostname)': Linux $(uname -r) on $(uname -m)
It lives in memory: what is written here is gone at power-off. 'poweroff' ends it.

END
`

/**
 * Ends the guest at once but cleanly; stands before busybox's own `poweroff` and `reboot`, which wait whole
 * seconds. Killing "-1" spares init and the script itself, but two of them would kill each other: the first wins.
 */
export const endScript = (program: 'poweroff' | 'reboot' | 'halt') => `#!/bin/busybox sh
export PATH=/bin
mkdir /run/ending 2>/dev/null || exit 0
# The shell that started it dies first, and its terminal hangs up.
trap '' HUP
# init shall not start shells anew.
kill -TSTP 1
kill -TERM -1
usleep 100000
kill -KILL -1
sync
umount -a -r 2>/dev/null
exec /bin/${program} -f
`

/** busybox's acpid runs it when the power button is pressed. */
export const powerButtonScript = `#!/bin/busybox sh
exec /sbin/poweroff
`
