/** Filters as they are printed here, told to libvirt itself: a daemon of its own, in namespaces that end with it. */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { formatNwfilterDefinition, parseNwfilterDefinition } from '../../model/index.ts'
import { shippedFilters } from './shipped.ts'

const samples = join(import.meta.dirname, '../../../test/fixtures/nwfilters')

/** Has libvirtd read an empty configuration, and its user be there; then does what virsh is told. */
const script = `set -e
folder=$1; shift
for one in /run /var/lib /var/cache /var/log; do mount -t tmpfs none $one; done
mkdir "$folder/etc"
(cat /etc/passwd; echo libvirt-qemu:x:64055:64055::/nonexistent:/bin/false) > "$folder/passwd"
(cat /etc/group; echo libvirt-qemu:x:64055:; echo kvm:x:64056:) > "$folder/group"
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/group" /etc/group
mount --bind "$folder/etc" /etc/libvirt
mkdir -p /run/libvirt
libvirtd -f "$folder/libvirtd.conf" > "$folder/log" 2>&1 &
end=$(($(date +%s) + 60))
until virsh -q -c qemu:///system nwfilter-list > /dev/null 2>&1; do
  [ $(date +%s) -lt $end ] || { tail -n 5 "$folder/log" >&2; exit 1; }
  sleep 0.2
done
virsh -q -c qemu:///system "$1"
`

function missing(): string | false {
  if (process.getuid?.() !== 0) return 'a network namespace needs root'
  try {
    execFileSync('sh', ['-c', 'command -v libvirtd virsh unshare && test -d /etc/libvirt'], {
      stdio: 'ignore',
    })
  } catch {
    return 'libvirtd and virsh are not here: install libvirt-daemon and libvirt-clients'
  }
  const drivers = readdirOrNone('/usr/lib/x86_64-linux-gnu/libvirt/connection-driver')
  return drivers.includes('libvirt_driver_nwfilter.so') ? false : 'libvirt has no driver for filters here'
}

function readdirOrNone(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

test('libvirt prints filters as they are printed here, and the shipped set is accepted by it', {
  skip: missing(),
  timeout: 200_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'visor-libvirt-filters-'))
  try {
    const texts = [
      ...readdirSync(samples).map((file) => readFileSync(join(samples, file), 'utf8')),
      ...shippedFilters.map((one) => formatNwfilterDefinition(one, 'xml')),
    ]
    writeFileSync(join(folder, 'libvirtd.conf'), 'auth_unix_rw = "none"\nauth_unix_ro = "none"\n')
    const commands = texts.flatMap((text, index) => {
      const file = join(folder, `${index}.xml`)
      writeFileSync(file, text)
      return [`nwfilter-define ${file}`, `nwfilter-dumpxml ${parseNwfilterDefinition(text).name}`]
    })
    const { stdout } = await promisify(execFile)(
      'unshare',
      [
        ...[
          '--net',
          '--mount',
          '--propagation',
          'private',
          '--pid',
          '--fork',
          '--kill-child',
          '--mount-proc',
        ],
        ...['sh', '-c', script, 'sh', folder, commands.join('; ')],
      ],
      { timeout: 180_000, maxBuffer: 2 ** 24 },
    )
    const printed = [...stdout.matchAll(/<filter [\s\S]*?<\/filter>\n/gu)].map(([text]) => text)
    assert.deepEqual(printed, texts)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
