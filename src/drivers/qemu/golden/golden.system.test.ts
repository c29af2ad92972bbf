/** What is recorded of libvirt is what libvirt says; with VISOR_RECORD=1 it is recorded anew. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { findProgram, inspectEmulator } from '../emulator/emulator.ts'
import { goldenCases, goldenFolder, readRecording } from './cases.ts'
import { missingLibvirt, openLibvirtPrinter } from './libvirt-argv.ts'

const skip = missingLibvirt()
const isRecording = process.env.VISOR_RECORD === '1'
const printer = skip ? undefined : openLibvirtPrinter()
after(() => printer?.close())

if (isRecording)
  test('the emulator is recorded', { skip }, async () => {
    const path = await findProgram('qemu-system-x86_64')
    assert.ok(path)
    const { machines, ...emulator } = await inspectEmulator('x86_64', path)
    const some = machines.filter(
      ({ name, alias }) => alias !== undefined || /-7\.[02]$|^microvm$/u.test(name),
    )
    const text = JSON.stringify({ ...emulator, machines: some, sandbox: true }, null, 1)
    writeFileSync(join(goldenFolder, 'emulator.json'), `${text}\n`)
  })

for (const one of goldenCases())
  test(`libvirt says what is recorded: ${one.name}`, { skip, timeout: 120_000 }, async () => {
    const said = (await printer?.print(one.xml)) ?? []
    if (isRecording) writeFileSync(one.recording, `${said.join('\n')}\n`)
    else assert.deepEqual(said, readRecording(one))
  })
