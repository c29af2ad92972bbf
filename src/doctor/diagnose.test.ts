import assert from 'node:assert/strict'
import { chmod, mkdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import * as hosts from '../../test/fixtures/recorded-hosts.ts'
import { hostFiles } from '../host/index.ts'
import { type Check, parse, VisorError } from '../model/index.ts'
import { type DiagnoseOptions, Diagnosis, diagnose } from './index.ts'

const user = { name: 'alice', id: 1000 }

/** The diagnosis of a recorded host, and its checks by id. */
async function examine(recording: hosts.Recording, options: DiagnoseOptions = {}) {
  await using host = await hosts.layOut(recording)
  const directories = {
    mode: 'session' as const,
    state: join(host.root, 'state'),
    runtime: join(host.root, 'run'),
    config: join(host.root, 'visord.yaml'),
  }
  const diagnosis = await diagnose({
    files: hostFiles(host.root),
    user,
    directories,
    programPath: ['/programs'],
    drivers: {},
    ...options,
  })
  const checks = new Map<string, Check>()
  for (const check of diagnosis.groups.flatMap((group) => group.checks)) {
    assert.ok(!checks.has(check.id), `two checks have the id ${check.id}`)
    checks.set(check.id, check)
  }
  return {
    diagnosis,
    check: (id: string) => checks.get(id) ?? assert.fail(`no check ${id}`),
    has: (id: string) => checks.has(id),
  }
}

test('a server with VT-x and KVM passes', async () => {
  const { diagnosis, check } = await examine(hosts.intel)
  for (const id of [
    'processor-virtualization',
    'nested-paging',
    'firmware-virtualization',
    'kvm-module',
    'kvm-device',
  ])
    assert.equal(check(id).status, 'pass', id)
  assert.equal(check('cgroups').status, 'pass')
  assert.equal(check('iommu').detail, '2 groups: host devices can be handed to guests.')
  assert.equal(check('huge-pages').detail, '384 of 512 free of 2 MiB.')
  assert.equal(check('subordinate-ids').status, 'pass')
  assert.match(check('security-modules').detail, /^apparmor:/u)
  assert.match(check('kvm-nested').detail, /^Guests may run guests/u)
  assert.equal(diagnosis.host.environment, 'a physical machine')
  assert.equal(diagnosis.host.cpus, 2)
})

test('a module that is not loaded is named with the command that loads it', async () => {
  const { check } = await examine(hosts.amd)
  assert.equal(check('processor-virtualization').status, 'pass')
  assert.equal(check('kvm-module').remedy, 'Run as root: modprobe kvm_amd')
  assert.equal(check('kvm-device').status, 'warn')
})

test('virtualization switched off in the firmware is told from the log or from the register', async () => {
  for (const recording of [hosts.amdSwitchedOff, hosts.intelSwitchedOff]) {
    const { check } = await examine(recording)
    assert.match(check('firmware-virtualization').detail, /^The firmware has switched .* off/u)
    assert.match(check('firmware-virtualization').remedy ?? '', /^Enter the firmware setup/u)
  }
})

test('a virtual machine is told what to change on the outer host', async () => {
  const { diagnosis, check, has } = await examine(hosts.vmwareGuest)
  assert.equal(diagnosis.host.environment, 'a virtual machine under VMware')
  assert.match(check('processor-virtualization').remedy ?? '', /Expose hardware assisted virtualization/u)
  assert.ok(!has('firmware-virtualization'))
  assert.match(check('unprivileged-user-namespaces').remedy ?? '', /sysctl user.max_user_namespaces=15000/u)
})

test('a paravirtual KVM is told from a real one, and a disk made from a container image from a container', async () => {
  const { diagnosis, check } = await examine(hosts.paravirtualKvm)
  assert.equal(diagnosis.host.environment, 'a virtual machine under KVM')
  assert.match(check('kvm-module').detail, /^kvm_pvm: a paravirtual KVM/u)
  assert.equal(check('kvm-device').status, 'pass')
})

test('a container is told what to be given', async () => {
  const { diagnosis, check } = await examine(hosts.dockerContainer)
  assert.equal(diagnosis.host.environment, 'a container (docker) on a physical machine')
  assert.match(check('kvm-device').remedy ?? '', /docker run --device \/dev\/kvm/u)
  assert.match(check('cgroups').detail, /^None is mounted/u)
})

test('hybrid control groups are a warning, and a controller that is missing is named', async () => {
  const { check } = await examine(hosts.intelSwitchedOff)
  assert.match(check('cgroups').detail, /^Hybrid/u)
  assert.equal(check('cgroup-controllers').status, 'warn')
  assert.match(check('cgroup-controllers').detail, /^Missing: io \(disk throughput\), cpuset .*, pids/u)
})

test('kernel features: built in, loadable, absent, unknown', async () => {
  const { check } = await examine(hosts.amd)
  assert.match(check('tun').detail, /^Built in/u)
  assert.match(check('bridge').detail, /^A module that loads/u)
  assert.match(check('ksm').detail, /^Not in this kernel/u)
  const { '/boot/config-6.1.0-32-amd64': _config, ...rest } = hosts.amd
  const { check: without } = await examine(rest)
  assert.match(without('bridge').detail, /^A module that loads/u)
  assert.match(without('userfaultfd').detail, /^Not known/u)
})

test('an empty host is diagnosed as well', async () => {
  const { diagnosis } = await examine({})
  assert.equal(diagnosis.status, 'fail')
  assert.deepEqual(diagnosis, parse(Diagnosis, JSON.parse(JSON.stringify(diagnosis))))
})

test('every warning and failure comes with its remedy', async () => {
  for (const recording of Object.values(hosts).filter((value) => typeof value === 'object')) {
    const { diagnosis } = await examine(recording)
    for (const { id, status, remedy } of diagnosis.groups.flatMap(({ checks }) => checks))
      if (status === 'warn' || status === 'fail') assert.ok(remedy, `${id} has no remedy`)
  }
})

test('a driver that cannot say whether it works, or cannot be loaded, does not stop the rest', async () => {
  const { diagnosis } = await examine(hosts.intel, {
    drivers: {
      broken: async () => {
        throw new VisorError('failed', 'The module is broken.')
      },
    },
  })
  assert.equal(diagnosis.drivers[0]?.available, false)
  assert.match(diagnosis.drivers[0]?.checks[0]?.detail ?? '', /The module is broken/u)
  assert.ok(diagnosis.groups.length > 5)
})

test('giving up is answered with cancelled', async () => {
  await assert.rejects(examine(hosts.intel, { signal: AbortSignal.abort() }), { code: 'cancelled' })
})

test("visord's socket: absent, left over, alive, not a socket", async () => {
  const files = hostFiles('/nonexistent')
  const socketCheck = async (runtime: string) => {
    const diagnosis = await diagnose({
      files,
      user,
      drivers: {},
      programPath: [],
      directories: { mode: 'session', state: '/', runtime, config: '/none' },
    })
    const checks = diagnosis.groups.flatMap((group) => group.checks)
    return checks.find(({ id }) => id === 'visord-socket')?.status
  }
  await using host = await hosts.layOut({ '/file/visord.sock': '' })
  assert.equal(await socketCheck(join(host.root, 'none')), 'info')
  assert.equal(await socketCheck(join(host.root, 'file')), 'fail')
  const runtime = join(host.root, 'run')
  await mkdir(runtime)
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(join(runtime, 'visord.sock'), resolve))
  assert.equal(await socketCheck(runtime), 'pass')
  await new Promise((resolve) => server.close(resolve))
})

test('tools: missing with the command that installs them, broken, there with their version', async () => {
  await using host = await hosts.layOut({
    ...hosts.intel,
    '/bin/nft': '#!/bin/sh\necho "nftables v1.0.6 (Lester Gooch #5)"\n',
    '/bin/dnsmasq': '#!/nonexistent/interpreter\n',
  })
  await chmod(join(host.root, 'bin/nft'), 0o755)
  await chmod(join(host.root, 'bin/dnsmasq'), 0o755)
  const diagnosis = await diagnose({ user, drivers: {}, programPath: [join(host.root, 'bin')] })
  const tools = diagnosis.groups.find(({ id }) => id === 'tools')?.checks ?? []
  const tool = (id: string) => tools.find((check) => check.id === `tool-${id}`)
  assert.match(tool('nft')?.detail ?? '', /^1\.0\.6, .*\/bin\/nft; for/u)
  assert.match(tool('dnsmasq')?.detail ?? '', /does not start/u)
  assert.equal(tool('qemu')?.status, 'warn')
})
