/**
 * What libvirt's QEMU driver makes of a definition. The driver lives inside virsh, needs no daemon, and runs
 * as a user without rights in namespaces of its own, so that the links it makes for network cards are seen
 * and left behind nowhere.
 */
import { execFileSync, spawn } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const nobody = 65_534
const timeoutMs = 240_000

/** Why it cannot be asked here; false when it can. */
export function missingLibvirt(): string | false {
  if (process.getuid?.() !== 0) return 'namespaces of links need root'
  try {
    execFileSync('virsh', ['--version'], { stdio: 'ignore' })
    execFileSync('qemu-system-x86_64', ['--version'], { stdio: 'ignore' })
  } catch {
    return 'virsh or QEMU is not here: install libvirt-clients, libvirt-daemon-driver-qemu, qemu-system-x86'
  }
  return false
}

const print = `virsh -q -c "qemu:///embed?root=$PLACE" domxml-to-native qemu-argv --xml "$1/domain.xml"`

/** Makes the terminals of links, and KVM, everybody's in this mount namespace, and then gives all rights up but for links. */
const script = `
mount -t tmpfs none "$1/dev" && mknod -m 666 "$1/dev/tun" c 10 200 && mount --bind "$1/dev/tun" /dev/net/tun
if [ -e /dev/kvm ]; then (mknod -m 666 "$1/dev/kvm" c 10 232 && mount --bind "$1/dev/kvm" /dev/kvm) 2>/dev/null || true; fi
exec setpriv --reuid ${nobody} --regid ${nobody} --clear-groups unshare --user --map-current-user --keep-caps --net \\
  ${print}
`

/**
 * It serves shares by virtiofs as root only. As root it wants its own folder in /run, and the user of its guests, which
 * not every package makes: both are there in this mount namespace alone.
 */
const scriptAsRoot = `
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && mount -t tmpfs none /run
exec unshare --net ${print}
`

export interface LibvirtPrinter {
  /** The arguments of QEMU, with `ROOT` for the folder of libvirt. Fails with what virsh says. */
  print(xml: string): Promise<string[]>
  close(): void
}

export function openLibvirtPrinter(): LibvirtPrinter {
  const folder = mkdtempSync(join(tmpdir(), 'visor-golden-'))
  chownSync(folder, nobody, nobody)
  execFileSync('install', [
    '-d',
    '-o',
    String(nobody),
    ...['root', 'root/etc', 'dev'].map((name) => join(folder, name)),
  ])
  // Without it libvirt refuses screens with TLS; the certificates are not looked at.
  writeFileSync(
    join(folder, 'root', 'etc', 'qemu.conf'),
    `spice_tls = 1\nspice_tls_x509_cert_dir = "${join(folder, 'root', 'etc')}"\n`,
  )
  writeFileSync(join(folder, 'passwd'), 'root:x:0:0::/:\nlibvirt-qemu:x:0:0::/:\n')
  writeFileSync(join(folder, 'group'), 'root:x:0:\nlibvirt-qemu:x:0:\nkvm:x:0:\n')
  return {
    async print(xml) {
      writeFileSync(join(folder, 'domain.xml'), xml)
      const isAsRoot = xml.includes("type='virtiofs'")
      const place = join(folder, isAsRoot ? 'own-root' : 'root')
      const text = await run(
        'unshare',
        ['--mount', '--propagation', 'private', 'sh', '-ec', isAsRoot ? scriptAsRoot : script, 'sh', folder],
        {
          HOME: place,
          PLACE: place,
          PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
          LC_ALL: 'C',
        },
      )
      const words = splitWords(
        text
          .replaceAll(place, 'ROOT')
          .replace(/"fd":"\d+"/gu, '"fd":"N"')
          .replace(/base=\d{4}-\d\d-\d\dT[\d:]+/u, 'base=NOW'),
      )
      return words.slice(words.findIndex((word) => word.startsWith('/') && word.includes('qemu-system')) + 1)
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  const [out, said]: [string[], string[]] = [[], []]
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    // What virsh starts may keep its pipes open for longer than it lives.
    child.once('exit', (code) => {
      clearTimeout(timer)
      setImmediate(() => (code === 0 ? resolve(out.join('')) : reject(new Error(said.join('') || `${code}`))))
    })
  })
}

/** Words as a shell would read them; libvirt quotes with `'` alone. */
function splitWords(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|\\.|[^\s'])+/gu)].map(([word]) =>
    word.replace(/'([^']*)'|\\(.)/gu, (_, quoted: string | undefined, escaped: string) => quoted ?? escaped),
  )
}
