import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DomainDefinition, parse } from '../../../../model/index.ts'
import { checkShares } from './serve.ts'

const definition = (share: object) =>
  parse(DomainDefinition, {
    type: 'qemu',
    name: 'one',
    memoryKiB: 1024,
    devices: { filesystems: [{ driver: 'virtiofs', source: '/srv', target: 't', ...share }] },
  })

test('where virtiofsd is not installed the package is named', async () => {
  await assert.rejects(
    checkShares(definition({}), async () => undefined),
    { code: 'unsupported-config', message: /'virtiofsd'.*not installed/u, remedy: /apt install virtiofsd/u },
  )
  await assert.rejects(
    checkShares(definition({ binary: '/bin/ls' }), async () => undefined),
    { code: 'unsupported-config', message: /binary.*'\/bin\/ls'/u },
  )
})

test('who serves at a socket of their own needs no program of ours', async () => {
  const one = definition({ source: undefined, socket: '/run/fs.sock' })
  await checkShares(one, async () => undefined)
})

test('what the program cannot do is refused', async () => {
  const rust = async () => ({ path: '/usr/libexec/virtiofsd', dialect: 'rust', readonly: true }) as const
  await assert.rejects(checkShares(definition({ flock: true }), rust), { code: 'unsupported-config' })
  await checkShares(definition({ flock: false, readonly: true }), rust)
})
