/** What is recorded of libvirt is what libvirt says; with VISOR_RECORD=1 it is recorded anew. */
import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { findProgram, inspectEmulator } from '../emulator/emulator.ts'
import { emulatorFile, goldenCases, goldenFolder, readRecording } from './cases.ts'
import { missingLibvirt, openLibvirtPrinter } from './libvirt-argv.ts'

const skip = missingLibvirt()
const isRecording = process.env.VISOR_RECORD === '1'
const printer = skip ? undefined : openLibvirtPrinter()
after(() => printer?.close())

if (isRecording)
  for (const arch of ['x86_64', 'aarch64'])
    test(`the emulator of ${arch} is recorded`, { skip }, async () => {
      const path = await findProgram(`qemu-system-${arch}`)
      assert.ok(path)
      const { machines, features: _, unavailable: _u, ...emulator } = await inspectEmulator(arch, path)
      const some = machines.filter(
        ({ name, alias }) => alias !== undefined || /-7\.[02]$|^microvm$/u.test(name),
      )
      const text = JSON.stringify({ ...emulator, machines: some, sandbox: true }, null, 1)
      writeFileSync(join(goldenFolder, emulatorFile(arch)), `${text}\n`)
    })

/** What this case needs beside libvirt, where that is not here. */
function missingFor(xml: string): string | false {
  if (xml.includes("<domain type='kvm'>") && !existsSync('/dev/kvm')) return 'there is no /dev/kvm'
  if (xml.includes("arch='aarch64'") && !hasArm) return 'qemu-system-aarch64 is not installed'
  if (xml.includes('<tpm ') && !hasTpm) return 'swtpm-tools is not installed'
  return false
}
/** Whether there is a /dev/kvm that a user can use is for libvirt to find out. */
function noKvm(error: unknown): string {
  if (/does not support virt type 'kvm'/u.test(String(error))) return 'libvirt finds no KVM here'
  throw error
}
/** libvirt makes the state of a module with it. */
const hasTpm = (await findProgram('swtpm_setup')) !== undefined
const hasArm = (await findProgram('qemu-system-aarch64')) !== undefined

for (const one of goldenCases())
  test(`libvirt says what is recorded: ${one.name}`, {
    skip: skip || missingFor(one.xml),
    timeout: 300_000,
  }, async (t) => {
    const said = (await printer?.print(one.xml).catch(noKvm)) ?? []
    if (typeof said === 'string') return t.skip(said)
    if (isRecording) writeFileSync(one.recording, `${said.join('\n')}\n`)
    else assert.deepEqual(said, readRecording(one))
  })
