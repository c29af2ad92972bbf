/** A daemon that is killed in the middle of any change, and many rounds of changes: the host is as before. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  inside,
  isOnTestHost,
  listHost,
  makeGuest,
  missingForTestHost,
  onTestHost,
  plugGuest,
  reaches,
  removeGuest,
  setUpTestHost,
} from '../../test/fixtures/test-host.ts'
import { type HostNetworks, silentLog } from '../driver/index.ts'
import { type Calls, loadCalls, openStore } from '../host/index.ts'
import { NetworkDefinition, parse } from '../model/index.ts'
import { openNetworks } from './index.ts'

/** Each takes the kernel a fifth of a second, for the end of a bridge. */
const rounds = Number(process.env.VISOR_ROUNDS ?? 30)
/** With many rounds, after each call; else after each other one. */
const step = rounds > 100 ? 1 : 2
const mac = '52:54:00:00:05:01'

/** As visord has them: what is kept is in a file. */
async function open(folder: string): Promise<{ host: HostNetworks; close(): Promise<void> }> {
  mkdirSync(join(folder, 'state'), { recursive: true })
  const store = await openStore(join(folder, 'state/store.db'))
  const host = await openNetworks({
    stateDirectory: join(folder, 'state'),
    runtimeDirectory: join(folder, 'run'),
    store,
    log: silentLog,
  })
  assert.ok(host)
  return {
    host,
    async close() {
      await host.close()
      await store.close()
    },
  }
}

const lab = parse(NetworkDefinition, {
  name: 'lab',
  forward: {},
  addresses: [
    { address: '10.9.1.1', prefix: 24, dhcp: { ranges: [{ start: '10.9.1.2', end: '10.9.1.9' }] } },
    { address: 'fd09:1::1', prefix: 64 },
  ],
})

/** What the kernel is told by netlink counts as a call of a program does. */
async function setOwnTraps(folder: string): Promise<void> {
  const calls: { -readonly [K in keyof Calls]: Calls[K] } = await loadCalls()
  const { sendInThread } = calls
  const numberIn = (name: string) => Number(readFileSync(join(folder, 'traps', name), 'utf8'))
  calls.sendInThread = async (...message) => {
    const count = numberIn('count') + 1
    writeFileSync(join(folder, 'traps/count'), `${count}\n`)
    const sent = await sendInThread(...message)
    if (count === numberIn('at')) process.kill(process.pid, 'SIGKILL')
    return sent
  }
}

/** The life of a network, which ends with the process at whatever point it is killed. */
async function live(folder: string): Promise<void> {
  await setOwnTraps(folder)
  const { host } = await open(folder)
  const { networks, guests, publications } = host
  await networks.define?.(lab)
  await networks.start?.('lab')
  const access = await guests.admit({ network: 'lab', domain: 'web', name: 'web', driver: 'test', mac })
  inside('host', 'ip', 'link', 'set', 'vg1', 'master', access.bridge ?? '', 'up')
  await access.join('vg1')
  const made = await publications.create?.({ domain: 'web', name: 'web', start: 8080, to: 7 })
  const section = 'dns-txt' as const
  const element = { name: 'a', value: 'b' }
  await networks.update?.('lab', { command: 'add-last', section, element })
  await publications.remove?.(made?.id ?? '')
  await guests.leave('web')
  await networks.destroy?.('lab')
  await networks.undefine?.('lab')
  process.exit(0)
}

/** Programs that count how often they are called, and kill who calls them the time that is asked for. */
function setTraps(folder: string): { readonly path: string; arm(at: number): void; count(): number } {
  const path = join(folder, 'traps')
  mkdirSync(path)
  for (const program of ['ip', 'nft', 'bridge']) {
    const real = inside('host', 'sh', '-c', `command -v ${program}`).trim()
    writeFileSync(
      join(path, program),
      `#!/bin/sh\nread -r n <${path}/count; n=$((n + 1)); echo $n >${path}/count\nread -r at <${path}/at\n${real} "$@"; code=$?\n[ "$n" = "$at" ] && kill -9 $PPID\nexit $code\n`,
    )
    chmodSync(join(path, program), 0o755)
  }
  return {
    path,
    arm(at) {
      writeFileSync(join(path, 'at'), `${at}\n`)
      writeFileSync(join(path, 'count'), '0\n')
    },
    count: () => Number(readFileSync(join(path, 'count'), 'utf8')),
  }
}

/** Processes whose command line has this text. */
async function processesWith(text: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/u.test(name))
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')))
  return lines.filter((line) => line.startsWith('dnsmasq') && line.includes(text))
}

/** Switches of the kernel that forwarding and bridges depend on. */
const listSwitches = () =>
  inside(
    'host',
    'sh',
    '-c',
    'cd /proc/sys/net && grep -r . ipv4/ip_forward ipv4/conf ipv6/conf bridge 2>/dev/null | grep -v "stable_secret\\|/vg1/" | sort',
  ).split('\n')

async function killAnywhere(folder: string): Promise<string> {
  makeGuest('web', 'vg1', mac)
  // Once it was on, it has a queue.
  for (const state of ['up', 'down']) inside('host', 'ip', 'link', 'set', 'vg1', state)
  const before = [listHost(), listSwitches()]
  const asBefore = async (what: string) => {
    assert.deepEqual([listHost(), listSwitches()], before, what)
    assert.deepEqual(await processesWith(folder), [], what)
  }
  const traps = setTraps(folder)
  let [whole, half] = [0, 0]
  for (let at = 1; ; at += step) {
    const what = `killed after call ${at}`
    traps.arm(at)
    const child: ChildProcess = spawn(process.execPath, [import.meta.filename, 'live', folder], {
      env: { ...process.env, PATH: `${traps.path}:${process.env.PATH}` },
      stdio: 'inherit',
    })
    const [code, signal] = await once(child, 'exit')
    if (code === 0 && traps.count() < at) break
    assert.equal(signal, 'SIGKILL', what)
    const { host, close } = await open(folder)
    try {
      const found = (await host.networks.list()).find(({ name }) => name === 'lab')
      if (found?.active) {
        whole++
        // It goes on: whoever was on it, or comes now, reaches the host.
        const access = await host.guests.admit({
          network: 'lab',
          domain: 'web',
          name: 'web',
          driver: 'test',
          mac,
        })
        plugGuest('web', 'vg1', access.bridge ?? '')
        await access.join('vg1')
        inside('web', 'ip', 'address', 'replace', '10.9.1.2/24', 'dev', 'eth0')
        assert.equal(await reaches('web', '10.9.1.1', 'icmp', 30), true, what)
        inside('web', 'ip', 'address', 'flush', 'dev', 'eth0')
        inside('web', 'ip', 'link', 'set', 'eth0', 'down')
        await host.guests.leave('web')
        for (const { id } of await host.publications.list()) await host.publications.remove?.(id)
        await host.networks.destroy?.('lab')
      } else half++
      inside('host', 'ip', 'link', 'set', 'vg1', 'nomaster')
      inside('host', 'ip', 'link', 'set', 'vg1', 'down')
      await asBefore(what)
      if (found) await host.networks.undefine?.('lab')
    } finally {
      await close()
    }
  }
  inside('host', 'ip', 'link', 'set', 'vg1', 'nomaster')
  inside('host', 'ip', 'link', 'set', 'vg1', 'down')
  await asBefore('at the end')
  removeGuest('web')
  assert.ok(whole > 1 && half > 1, `${whole} went on, ${half} were taken back`)
  return `killed at ${whole + half} points: ${whole} networks went on, ${half} were taken back`
}

/** Without DHCP, which takes the time of a program's start: what is counted here is what stays of links and rules. */
async function manyRounds(folder: string): Promise<string> {
  const { host, close } = await open(folder)
  const { networks, guests, publications } = host
  try {
    makeGuest('web', 'vg1', mac)
    inside('host', 'ip', 'link', 'set', 'vg1', 'down')
    const before = [listHost(), listSwitches()]
    const began = performance.now()
    for (let round = 1; round <= rounds; round++) {
      const isWhole = round % 25 === 0
      const [one] = lab.addresses
      const plain = {
        ...lab,
        dns: { enabled: false },
        addresses: [{ address: one?.address ?? '', prefix: 24 }],
      }
      await networks.define?.(isWhole ? lab : parse(NetworkDefinition, plain))
      await networks.start?.('lab')
      if (round % 5 === 0) {
        const access = await guests.admit({ network: 'lab', domain: 'web', name: 'web', driver: 'test', mac })
        inside('host', 'ip', 'link', 'set', 'vg1', 'master', access.bridge ?? '')
        await access.join('vg1')
        const made = await publications.create?.({
          domain: 'web',
          name: 'web',
          start: 8080,
          end: 8090,
          to: 80,
        })
        await publications.remove?.(made?.id ?? '')
        await guests.leave('web')
        inside('host', 'ip', 'link', 'set', 'vg1', 'nomaster')
      }
      await networks.destroy?.('lab')
      if (round % 2 === 0) await networks.undefine?.('lab')
    }
    const tookMs = performance.now() - began
    assert.deepEqual([listHost(), listSwitches()], before)
    assert.deepEqual(await processesWith(folder), [])
    return `${rounds} rounds in ${Math.round(tookMs)} ms`
  } finally {
    removeGuest('web')
    await close()
  }
}

async function runOnTestHost(what: string): Promise<void> {
  setUpTestHost()
  // On before, as it stays on.
  inside('host', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
  const folder = await mkdtemp(join(tmpdir(), 'visor-crash-'))
  await chmod(folder, 0o755)
  try {
    console.log(await (what === 'kill' ? killAnywhere(folder) : manyRounds(folder)))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

if (isOnTestHost()) {
  await runOnTestHost(process.argv[3] ?? '')
  process.exit(0)
} else if (process.argv[2] === 'live') await live(process.argv[3] ?? '')
else
  for (const [what, name] of [
    ['kill', 'a daemon that is killed after any call leaves a network that goes on, or nothing'],
    ['rounds', `${rounds} rounds of starts, ports and stops leave nothing`],
  ] as const)
    test(
      name,
      { skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'ping', 'unshare']), timeout: 600_000 },
      () => onTestHost(import.meta.filename, what),
    )
