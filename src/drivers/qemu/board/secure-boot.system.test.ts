/**
 * Secure Boot, variables of UEFI and a TPM as a guest finds them: a disk whose program nobody has signed is
 * refused, the distribution's signed chain (shim, GRUB, kernel) runs, and what the guest has written into the
 * firmware's variables and into its TPM is there after a restart and in a snapshot.
 */
import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import { runChecked } from '../../../host/index.ts'
import type { Image } from '../../../model/index.ts'
import { withPackages } from '../../../storage/packages.ts'
import { buildTestImage } from '../../../storage/testing/test-images.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { openTerminal, prompt, type Terminal } from '../testing/test-terminal.ts'
import { findFirmware } from './firmware-descriptors.ts'

const missing: string[] = []
for (const program of ['qemu-system-x86_64', 'swtpm', 'mformat', 'apt-get'])
  if (!(await findProgram(program))) missing.push(program)
if (process.arch !== 'x64') missing.push('an x86 host, whose distribution signs what is booted here')
if (!(await findFirmware()).some(({ features }) => features.includes('enrolled-keys')))
  missing.push('UEFI with enrolled keys (ovmf)')
const skip = missing.length > 0 && `there is no ${missing.join(', ')}`

/** In the guest: sends a command to the TPM and prints its answer. Source: TPM 2.0 Library, Part 3. */
const toTpm = (...words: string[]) => `tpm '${words.join('').replace(/../gu, '\\x$&')}'`
const defineTpm = [
  'exec 3<>/dev/tpmrm0',
  `tpm() { printf "$1" >&3; dd bs=4096 count=1 <&3 2>/tmp/e | od -An -v -tx1 | tr -d '\\n '; echo; }`,
].join('; ')
const index = '01800001'
/** The owner's and the index's password: none. */
const noPassword = '00000009' + '40000009' + '0000' + '00' + '0000'
const getRandom = toTpm('8001', '0000000c', '0000017b', '0010')
const defineSpace = toTpm(
  ...['8002', '0000002d', '0000012a', '40000001', noPassword, '0000'],
  // Of 5 bytes, which whoever knows its password, none, reads and writes.
  ...['000e', index, '000b', '02040004', '0000', '0005'],
)
const writeSpace = toTpm(
  '8002',
  '00000028',
  '00000137',
  index,
  index,
  noPassword,
  '0005',
  '7669736f72',
  '0000',
)
const readSpace = toTpm('8002', '00000023', '0000014e', index, index, noPassword, '0005', '0000')

const variable = (name: string) => `/sys/firmware/efi/efivars/${name}-5b446ed1-e30b-4faa-871a-3654eca36080`
/** In the guest: kept, and seen by what runs later (attributes 7). */
const writeVariable = (name: string) => `printf '\\x07\\x00\\x00\\x00text' >${variable(name)}`
const readVariables = `for v in ${variable('*')}; do echo "\${v##*/}" | cut -d- -f1; tail -c +5 $v; echo; done`

describe('Secure Boot', { skip, timeout: 600_000 }, () => {
  let directory = ''
  let connection: CompleteConnection
  let uuid = ''
  let terminal: Terminal

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-secure-'))
    await chmod(directory, 0o755)
    await makeDisks(directory, await buildTestImage(directory))
    connection = await openTestDriver(directory)
    const disk = (target: string, name: string, bootOrder?: number) => ({
      ...{
        target,
        file: join(directory, name),
        format: name.endsWith('.raw') ? ('raw' as const) : ('qcow2' as const),
      },
      ...(bootOrder === undefined ? {} : { bootOrder, readonly: true }),
    })
    const domain = await connection.domains.define({
      type: 'qemu',
      name: 'secure',
      memoryKiB: 384 * 1024,
      os: { firmware: 'efi', firmwareFeatures: [{ name: 'secure-boot', enabled: true }] },
      devices: {
        disks: [disk('vda', 'unsigned.raw', 1), disk('vdb', 'signed.raw', 2), disk('vdc', 'data.qcow2')],
        serials: [{}],
        tpms: [{}],
      },
    })
    uuid = domain.uuid
    await connection.domains.start(uuid)
    await attend()
  })
  after(async () => {
    await terminal?.close()
    await connection?.domains.destroy(uuid).catch(() => {})
    await connection?.domains.undefine(uuid, { snapshots: true }).catch(() => {})
    await connection?.close()
    await rm(directory, { recursive: true, force: true })
  })

  /** Waits for the shell of a guest that boots, and opens what it works with. */
  async function attend(): Promise<void> {
    terminal = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
    await terminal.until(prompt)
    await terminal.ask('mount -t efivarfs none /sys/firmware/efi/efivars')
    await terminal.ask(defineTpm)
  }

  test('what nobody has signed is refused, and what is signed runs', async () => {
    const log = Buffer.from(await connection.domains.consoleLog(uuid)).toString('latin1')
    assert.match(log, /failed to load Boot0001 [^\n]*: Access Denied/u)
    assert.match(log, /starting Boot0002/u)
    assert.match(await terminal.ask('dmesg | grep -i "secure boot"'), /Secure boot enabled/u)
    const enabled = await terminal.ask('od -An -tx1 /sys/firmware/efi/efivars/SecureBoot-*')
    assert.match(enabled, /06 00 00 00 01/u)
  })

  test('the TPM has measured the boot, and answers', async () => {
    assert.match(await terminal.ask('cat /sys/class/tpm/tpm0/tpm_version_major'), /2/u)
    // Register 7 holds whether Secure Boot is on, and with whose keys.
    const register = await terminal.ask('cat /sys/class/tpm/tpm0/pcr-sha256/7')
    assert.match(register, /[0-9A-F]{64}/u)
    assert.doesNotMatch(register, /0{64}/u)
    assert.match(await terminal.ask(getRandom), /80010000001c0000000000[0-9a-f]{34}/u)
    assert.match(await terminal.ask(defineSpace), /80020000001300000000/u)
    assert.match(await terminal.ask(writeSpace), /80020000001300000000/u)
    assert.match(await terminal.ask(readSpace), /7669736f72/u)
  })

  test('a snapshot has the variables as they were', async () => {
    await terminal.ask(writeVariable('Early'))
    await connection.snapshots.create(uuid, { name: 'early' })
    await terminal.ask(writeVariable('Late'))
    assert.match(await terminal.ask(readVariables), /Early\s+text\s+Late\s+text/u)
    await terminal.close()
    await connection.snapshots.revert(uuid, 'early')
    terminal = openTerminal(await connection.domains.openConsole(uuid))
    const there = await terminal.ask(readVariables)
    assert.match(there, /Early\s+text/u)
    assert.doesNotMatch(there, /Late/u)
  })

  test('variables and the state of the TPM are there after a restart', async () => {
    await terminal.close()
    await connection.domains.destroy(uuid)
    // That it is refused has been seen: each try costs the firmware its time.
    const unsigned = { disks: [{ target: 'vda', file: join(directory, 'unsigned.raw') }] }
    await connection.domains.detachDevice(uuid, { device: unsigned, config: true })
    await connection.domains.start(uuid)
    await attend()
    const there = await terminal.ask(readVariables)
    assert.match(there, /Early\s+text/u)
    assert.doesNotMatch(there, /Late/u)
    assert.match(await terminal.ask(readSpace), /7669736f72/u)
  })
})

/** `signed.raw`, as an installer would leave it; `unsigned.raw`, whose program no key vouches for; an empty disk. */
async function makeDisks(directory: string, image: Image): Promise<void> {
  const scratch = join(directory, 'packages')
  await mkdir(scratch)
  const packages = await withPackages({ arch: 'amd64', directory: scratch }, (index) =>
    index.fetch(['shim-signed', 'grub-efi-amd64-signed']),
  )
  const rootOf = (name: string) => packages.find((one) => one.package === name)?.root ?? ''
  assert.ok(image.packedKernel && image.initrd)
  const loader = join(rootOf('shim-signed'), 'usr/lib/shim/shimx64.efi.signed')
  const grub = join(rootOf('grub-efi-amd64-signed'), 'usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed')
  const configuration = join(directory, 'grub.cfg')
  await writeFile(configuration, `linux /vmlinuz ${image.commandLine}\ninitrd /initrd\nboot\n`)
  await makeDisk(join(directory, 'signed.raw'), [
    [loader, '/EFI/BOOT/BOOTX64.EFI'],
    [grub, '/EFI/BOOT/grubx64.efi'],
    [configuration, '/EFI/debian/grub.cfg'],
    [configuration, '/EFI/ubuntu/grub.cfg'],
    [image.packedKernel, '/vmlinuz'],
    [image.initrd, '/initrd'],
  ])
  // Signed by the distribution, whose key no firmware has: what vouches for it is the shim, and it is not asked.
  await makeDisk(join(directory, 'unsigned.raw'), [[grub, '/EFI/BOOT/BOOTX64.EFI']])
  await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', join(directory, 'data.qcow2'), '8M'])
}

/** A disk with one FAT file system. */
async function makeDisk(
  path: string,
  files: readonly (readonly [from: string, to: string])[],
): Promise<void> {
  await writeFile(path, '')
  await truncate(path, 64 * 1024 * 1024)
  await runChecked('mformat', ['-i', path, '-F', '::'])
  for (const folder of ['/EFI', '/EFI/BOOT', '/EFI/debian', '/EFI/ubuntu'])
    await runChecked('mmd', ['-i', path, `::${folder}`])
  for (const [from, to] of files) await runChecked('mcopy', ['-i', path, from, `::${to}`])
}
