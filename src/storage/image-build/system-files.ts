/** What a disk has beyond its packages: files, and two scripts of the build. */
import { bootModules, initramfsModules } from './boot-modules.ts'

export interface SystemIdentity {
  /** UUID of the root file system, and what Linux calls the one of the EFI system partition. */
  readonly rootUuid: string
  readonly efiUuid: string
  /** Lines of sources.list(5). */
  readonly sourceLines: string
}

/** Where the build has its own files while it is at work in the system. */
export const buildFolder = '.visor-build'

/** Parameters of the kernel: its check of the timer panics where an emulated processor gets no time for a moment. */
const kernelParameters = 'console=tty0 console=ttyS0,115200n8 no_timer_check'

/** Files that must be there before the packages are configured, by path. */
export function earlyFiles(): Record<string, string> {
  return {
    'etc/initramfs-tools/conf.d/visor': 'MODULES=list\n',
    'usr/share/initramfs-tools/modules.d/visor': `${initramfsModules.join('\n')}\n`,
    'etc/kernel-img.conf': 'do_symlinks = yes\n',
  }
}

/** Files of the finished system, by path. */
export function systemFiles({ rootUuid, efiUuid, sourceLines }: SystemIdentity): Record<string, string> {
  return {
    'etc/fstab': `UUID=${rootUuid} / ext4 rw,discard,errors=remount-ro 0 1
UUID=${efiUuid} /boot/efi vfat umask=0077,nofail 0 2
`,
    'etc/hostname': 'localhost\n',
    'etc/hosts': '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n',
    'etc/apt/sources.list': sourceLines,
    'etc/systemd/network/90-visor-dhcp.network': `# Of cards of which nobody says more.
[Match]
Name=en* eth*
[Network]
DHCP=yes
`,
    'etc/cloud/cloud.cfg.d/90_visor.cfg': `# The first boot is always done: whether there is a seed is looked for when devices are there, not before.
datasource_list: [NoCloud, None]
locale: C.UTF-8
system_info:
  network:
    renderers: [networkd]
`,
    'etc/systemd/system/cloud-init-local.service.d/visor-devices.conf': `[Unit]
Wants=systemd-udev-settle.service
After=systemd-udev-settle.service
`,
    // cloud-init makes host keys as well, but only where there is a seed.
    'etc/systemd/system/ssh.service.d/visor-host-keys.conf': `[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
`,
    'boot/grub/grub.cfg': `# The kernel's packages keep /vmlinuz and /initrd.img up to date; nothing else changes here.
set timeout=0
set timeout_style=hidden
if keystatus --shift; then set timeout=10; set timeout_style=menu; fi
set options="root=UUID=${rootUuid} ro ${kernelParameters}"
set folder=
if [ ! -e /vmlinuz ]; then set folder=/boot; fi
menuentry 'Linux' {
  linux $folder/vmlinuz $options
  initrd $folder/initrd.img
}
menuentry 'Linux, the kernel before' {
  linux $folder/vmlinuz.old $options
  initrd $folder/initrd.img.old
}
menuentry 'Linux, rescue' {
  linux $folder/vmlinuz $options systemd.unit=rescue.target
  initrd $folder/initrd.img
}
`,
    [`${buildFolder}/embedded.cfg`]: `serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
search --no-floppy --fs-uuid --set=root ${rootUuid}
set prefix=($root)/boot/grub
configfile ($root)/boot/grub/grub.cfg
`,
  }
}

/** After the first packages are unpacked: files that the others find. */
export const earlyScript = `#!/bin/sh
set -eu
here=$(dirname "$0")
tar -C "$here/early" --owner=0 --group=0 --mode=u=rwX,go=rX -cf - . | chroot "$1" tar -xf - -C / --keep-directory-symlink --no-overwrite-dir
`

/** After all packages: the files, and what must be done in the system itself. */
export const lateScript = `#!/bin/sh
set -eu
here=$(dirname "$0")
tar -C "$here/system" --owner=0 --group=0 --mode=u=rwX,go=rX -cf - . | chroot "$1" tar -xf - -C / --keep-directory-symlink --no-overwrite-dir
cp -a "$here/tools" "$1/${buildFolder}/tools"
chroot "$1" /bin/sh /${buildFolder}/finish.sh
cp "$1/${buildFolder}/core.img" "$1/${buildFolder}/loader.efi" "$1/${buildFolder}/tools/usr/lib/grub/i386-pc/boot.img" "$here/loader/"
rm -rf "$1/${buildFolder}"
`

/**
 * In the system: the boot loader's two forms are made by its own tools, services that packages leave off are switched
 * on, and what differs from one build to the next, or must differ from one machine to the next, is taken away.
 */
export const finishScript = `set -eu
cd /${buildFolder}
export LD_LIBRARY_PATH=/${buildFolder}/tools/lib/x86_64-linux-gnu:/${buildFolder}/tools/usr/lib/x86_64-linux-gnu
make() { tools/usr/bin/grub-mkimage --directory "tools/usr/lib/grub/$1" --format "$1" --prefix /boot/grub --config embedded.cfg --output "$2" ${bootModules.join(' ')} $3; }
make i386-pc core.img biosdisk
make x86_64-efi loader.efi 'efi_gop all_video'
unset LD_LIBRARY_PATH
mkdir -p /boot/efi
for unit in systemd-networkd systemd-resolved ssh; do systemctl enable "$unit.service" >/dev/null 2>&1 || [ "$unit" = systemd-resolved ]; done
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id /var/lib/systemd/random-seed
: > /etc/machine-id
rm -rf /var/lib/apt/lists /var/cache/apt /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old
mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial
rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock
find /var/log -type f -delete
find /run /tmp /var/tmp -mindepth 1 -xdev -delete 2>/dev/null || true
rm -f /vmlinuz.old /initrd.img.old
`
