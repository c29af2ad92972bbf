// The programs and files that do not come from npm: named first, then installed where that is ours to do.
import { existsSync } from 'node:fs'
import { run, step, which } from './run.mjs'

/**
 * What is needed for what, and how one sees that it is there. Names are Debian's and Ubuntu's. A peer is a
 * program that tests compare with or drive: where a distribution lacks it, those tests are skipped. A service would be
 * started by its package, and change what is there: it is installed where no init system would do that, as in
 * containers, and else left to whoever wants those tests.
 */
const packages = [
  { name: 'qemu-system-x86', program: 'qemu-system-x86_64', for: ['start', 'test', 'bench'] },
  { name: 'qemu-utils', program: 'qemu-img', for: ['start', 'test', 'bench'] },
  { name: 'seabios', file: '/usr/share/seabios/bios.bin', for: ['start', 'start-v86', 'test', 'bench'] },
  { name: 'python3', program: 'python3', for: ['test'] },
  { name: 'acl', program: 'setfacl', for: ['test'], peer: true },
  { name: 'openssl', program: 'openssl', for: ['test'], peer: true },
  { name: 'qemu-system-arm', program: 'qemu-system-aarch64', for: ['test'], peer: true },
  { name: 'qemu-system-misc', program: 'qemu-system-riscv64', for: ['test'], peer: true },
  { name: 'ovmf', file: '/usr/share/OVMF/OVMF_CODE_4M.fd', for: ['test'], peer: true },
  { name: 'swtpm', program: 'swtpm', for: ['test'], peer: true },
  { name: 'swtpm-tools', program: 'swtpm_setup', for: ['test'], peer: true },
  { name: 'mtools', program: 'mformat', for: ['test'], peer: true },
  {
    name: 'virtiofsd',
    file: ['/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd'],
    for: ['test'],
    peer: true,
  },
  { name: 'genisoimage', program: 'isoinfo', for: ['test'], peer: true },
  { name: 'libarchive-tools', program: 'bsdtar', for: ['test'], peer: true },
  { name: 'cpio', program: 'cpio', for: ['test'], peer: true },
  { name: 'e2fsprogs', program: 'mkfs.ext4', for: ['test'], peer: true },
  { name: 'mmdebstrap', program: 'mmdebstrap', for: ['test'], peer: true },
  { name: 'openssh-client', program: 'ssh', for: ['test'], peer: true },
  { name: 'xfsprogs', program: 'mkfs.xfs', for: ['test'], peer: true },
  { name: 'btrfs-progs', program: 'mkfs.btrfs', for: ['test'], peer: true },
  { name: 'dnsmasq-base', program: 'dnsmasq', for: ['start', 'test', 'bench'], peer: true },
  { name: 'nftables', program: 'nft', for: ['start', 'test', 'bench'], peer: true },
  { name: 'udhcpc', program: 'udhcpc', for: ['test'], peer: true },
  { name: 'isc-dhcp-client', program: 'dhclient', for: ['test'], peer: true },
  { name: 'iputils-ping', program: 'ping', for: ['test'], peer: true },
  { name: 'ipxe-qemu', file: '/usr/lib/ipxe/qemu/pxe-e1000e.rom', for: ['test'], peer: true },
  { name: 'passt', program: 'passt', for: ['test'], peer: true },
  { name: 'iproute2', program: 'ip', for: ['start', 'test', 'bench'], peer: true },
  {
    name: 'qemu-block-extra',
    file: '/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so',
    for: ['test'],
    peer: true,
  },
  { name: 'tgt', program: 'tgtd', for: ['test'], peer: true },
  { name: 'libiscsi-bin', program: 'iscsi-ls', for: ['test'], peer: true },
  { name: 'libvirt-clients', program: 'virsh', for: ['test'], peer: true },
  { name: 'libvirt-daemon', program: 'libvirtd', for: ['test', 'bench'], peer: true },
  { name: 'libvirt-daemon-driver-qemu', program: 'virt-qemu-run', for: ['test', 'bench'], peer: true },
  {
    name: 'python3-libvirt',
    file: '/usr/lib/python3/dist-packages/libvirt.py',
    for: ['bench'],
    peer: true,
  },
  { name: 'iptables', program: 'iptables', for: ['bench'], peer: true },
  { name: 'docker.io', program: 'dockerd', for: ['test'], peer: true, service: true },
  { name: 'ufw', program: 'ufw', for: ['test'], peer: true, service: true },
  { name: 'dbus', program: 'dbus-daemon', for: ['test'], peer: true, service: true },
  { name: 'firewalld', program: 'firewalld', for: ['test'], peer: true, service: true },
  { name: 'chromium', program: 'chromium', for: ['test'], peer: true },
]

/**
 * Sees to the packages that `purpose` needs. As root on a host with apt it names and installs them; elsewhere
 * it prints the one command to run, and goes on: what needs them says so itself.
 */
export async function ensureSystemPackages(purpose) {
  const missing = findMissing(purpose)
  if (missing.length === 0) return
  const names = missing.map(({ name }) => name)
  const install = ['install', '--yes', '--no-install-recommends']
  if (!which('apt-get')) {
    console.error(`These are missing on this host: ${names.join(', ')} (names as in Debian). Install them.`)
    return
  }
  if (process.getuid() !== 0) {
    console.error(
      `These system packages are missing: ${names.join(', ')}. Install them with:\n\n  sudo apt-get ${install.join(' ')} ${names.join(' ')}\n`,
    )
    return
  }
  console.error(`These system packages are missing and are installed now: ${names.join(', ')}`)
  // As when a host is repaired: no service is started.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  const apt = (...args) => run('apt-get', args, { env, quiet: true })
  await step('System packages', async () => {
    await apt('update')
    const needed = missing.filter(({ peer }) => !peer).map(({ name }) => name)
    if (needed.length > 0) await apt(...install, ...needed)
    // One by one: a name that a distribution does not have must not keep the others away.
    for (const { name } of missing.filter(({ peer }) => peer)) await apt(...install, name)
  })
  const still = findMissing(purpose).map(({ name }) => name)
  if (still.length > 0) console.error(`Still missing: ${still.join(', ')}. Going on without.`)
}

const hasInit = existsSync('/run/systemd/system')

function findMissing(purpose) {
  return packages.filter(
    ({ program, file, service, for: purposes }) =>
      purposes.includes(purpose) &&
      !(service && hasInit) &&
      !(program ? which(program) : [file].flat().some((path) => existsSync(path))),
  )
}
