import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DomainDefinitionInput } from '../../../../model/index.ts'
import { completeDefinition } from '../../definition/definition.ts'
import type { Emulator } from '../../emulator/emulator.ts'
import { processorArguments } from './processors.ts'

const emulator: Emulator = {
  path: '/usr/bin/qemu-system-x86_64',
  arch: 'x86_64',
  version: '7.2.22',
  machines: [{ name: 'q35', maxCpus: 288, hotplugCpus: true }],
  cpuModels: ['qemu64', 'max', 'Skylake-Client'],
  features: { aes: true, avx2: true, pcid: false, avx512f: false, hle: false },
  unavailable: { 'Skylake-Client': ['pcid', 'hle'] },
  devices: [],
  sandbox: true,
}

async function processorOf(
  cpu: DomainDefinitionInput['cpu'],
  type: 'qemu' | 'kvm' = 'qemu',
): Promise<string> {
  const input: DomainDefinitionInput = { type, name: 'one', memoryKiB: 262_144, os: { machine: 'q35' } }
  const definition = await completeDefinition(
    { ...input, ...(cpu ? { cpu } : {}) },
    {
      findEmulator: async () => emulator,
      kvm: async () => ({ works: true, detail: '' }),
      firmware: async () => [],
    },
  )
  return processorArguments(definition, emulator).at(-1) ?? ''
}

const model = 'Skylake-Client'

test('what is optional and cannot be emulated is left out; what is there is claimed', async () => {
  const features = [
    { name: 'aes' },
    { name: 'avx512f', policy: 'optional' as const },
    { name: 'avx2', policy: 'optional' as const },
    { name: 'nosuch', policy: 'optional' as const },
    { name: 'hle', policy: 'disable' as const },
  ]
  assert.equal(await processorOf({ model, features }), 'Skylake-Client,aes=on,avx2=on,hle=off')
})

test('what is forced is claimed, and nothing else that is not there', async () => {
  const features = [{ name: 'avx512f', policy: 'force' as const }]
  assert.equal(
    await processorOf({ model, features }),
    'Skylake-Client,pcid=off,hle=off,avx512f=on,x-force-features=on',
  )
  assert.equal(
    await processorOf({ model, features: [{ name: 'aes', policy: 'force' }] }),
    'Skylake-Client,aes=on',
  )
})

test('what is required and cannot be had is refused by its name; so is what nobody knows', async () => {
  const refused = (path: RegExp) => ({ code: 'unsupported-config', message: path })
  const required = { model, features: [{ name: 'avx512f' }] }
  await assert.rejects(processorOf(required), refused(/^cpu\.features\[0\]: requires 'avx512f'/u))
  assert.equal(await processorOf({ ...required, check: 'none' }), 'Skylake-Client,avx512f=on')
  await assert.rejects(
    processorOf({ model, features: [{ name: 'nosuch' }] }),
    refused(/knows no feature 'nosuch'/u),
  )
})

test('the whole model is checked as far as it is asked for', async () => {
  assert.equal(await processorOf({ model, check: 'partial' }), 'Skylake-Client')
  const refused = { code: 'unsupported-config', message: /^cpu\.check: .* has pcid, hle, which/u }
  await assert.rejects(processorOf({ model, check: 'full' }), refused)
  const features = ['pcid', 'hle'].map((name) => ({ name, policy: 'disable' as const }))
  assert.equal(
    await processorOf({ model, check: 'full', features }),
    'Skylake-Client,pcid=off,hle=off,enforce=on',
  )
  assert.equal(await processorOf({ model, check: 'partial' }, 'kvm'), 'Skylake-Client,enforce=on')
  assert.equal(
    await processorOf({ model, features: [{ name: 'avx512f' }] }, 'kvm'),
    'Skylake-Client,avx512f=on,enforce=on',
  )
})
