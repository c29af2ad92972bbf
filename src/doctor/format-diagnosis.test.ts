import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { type Diagnosis, formatDiagnosis } from './index.ts'
import { formatKiB, wrap } from './text.ts'

const diagnosis: Diagnosis = {
  status: 'warn',
  summary: ['qemu 7.2 works: emulation, hosted by this system.'],
  host: {
    hostname: 'alpha',
    system: 'Debian GNU/Linux 12',
    kernel: '6.1',
    arch: 'x86_64',
    cpus: 1,
    memoryKiB: 2 ** 21,
    environment: 'a physical machine',
  },
  drivers: [
    { driver: 'qemu', available: true, version: '7.2', kind: 'emulation', hosting: 'hosted', checks: [] },
  ],
  groups: [
    {
      id: 'kvm',
      title: 'KVM',
      checks: [
        { id: 'a', title: 'Kernel module', status: 'pass', detail: 'It is there.' },
        {
          id: 'b',
          title: '/dev/kvm',
          status: 'warn',
          detail: 'It is missing, so guests are emulated: correct, but slow as can be.',
          remedy: 'Run as root: modprobe kvm_intel',
        },
      ],
    },
  ],
  elapsedMs: 1,
}

test('groups are aligned and remedies stand on their own line', () => {
  assert.equal(
    formatDiagnosis(diagnosis, { color: false, width: 72 }),
    `alpha: Debian GNU/Linux 12, Linux 6.1, x86_64
1 processor, 2 GiB; a physical machine

qemu 7.2 works: emulation, hosted by this system.

KVM
  ✓ Kernel module  It is there.
  ! /dev/kvm       It is missing, so guests are emulated: correct, but
                   slow as can be.
                   → Run as root: modprobe kvm_intel

1 check passed, 1 warning, 0 failures, 0 to know
`,
  )
})

test('colour changes nothing but the colour', () => {
  const plain = formatDiagnosis(diagnosis, { color: false, width: 100 })
  const coloured = formatDiagnosis(diagnosis, { color: true, width: 100 })
  assert.notEqual(coloured, plain)
  assert.equal(stripVTControlCharacters(coloured), plain)
})

test('lines fit a narrow terminal', () => {
  const lines = formatDiagnosis(diagnosis, { color: false, width: 44 }).split('\n')
  assert.deepEqual(
    lines.filter((line) => line.length > 44),
    [],
  )
})

test('sizes and lines', () => {
  assert.equal(formatKiB(512), '512 KiB')
  assert.equal(formatKiB(1536), '1.5 MiB')
  assert.equal(formatKiB(24684084), '23.5 GiB')
  assert.deepEqual(wrap('one two three', 7), ['one two', 'three'])
  assert.deepEqual(wrap('extraordinary', 4), ['extraordinary'])
})
