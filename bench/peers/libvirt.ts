import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, rmdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Workbench } from '../harness.ts'
import { endChild } from '../processes.ts'

/** A libvirtd of its own, and a client in Python that measures calls to it. */
export interface Libvirt {
  /** Calls libvirt and gives the time of one call in milliseconds, or for `memory` the size in MB. */
  call(request: LibvirtRequest): Promise<number>
}

export type LibvirtRequest =
  | { readonly op: 'start' | 'destroy' | 'undefine'; readonly name: string }
  | { readonly op: 'info' | 'xml'; readonly name: string; readonly count?: number }
  | { readonly op: 'define'; readonly xml: string }
  /** Defines a network, and gives the time of its start. */
  | { readonly op: 'network'; readonly xml: string }
  | { readonly op: 'list' | 'stats' | 'memory' | 'version'; readonly count?: number }

// Debian's own Python is the one that Debian's binding is for.
const python = '/usr/bin/python3'
const client = join(import.meta.dirname, 'libvirt-client.py')
/** With us it ends too, and with it all that is in its process namespace. */
const unshare = [
  '--pdeathsig',
  'KILL',
  'unshare',
  '--mount',
  '--net',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
  '--propagation',
  'private',
]
/** Where libvirt puts its guests; left behind when they are gone. */
const cgroupFolders = [
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'devices',
  'freezer',
  'blkio',
  'pids',
  'systemd',
  'unified',
  '',
]

/** Where libvirt-client.py mounts what nobody else shall see. */
const mountPoints = [
  '/etc/libvirt',
  '/run/libvirt',
  '/var/lib/libvirt',
  '/var/log/libvirt',
  '/var/cache/libvirt',
]

/** Starts libvirtd out of sight of the host; undefined, with a note, where it is not installed. */
export async function openLibvirt(bench: Workbench): Promise<Libvirt | undefined> {
  const missing = findMissing()
  if (missing) {
    bench.note(`libvirt was left out: ${missing}`)
    return undefined
  }
  const groups = cgroupFolders.map((name) => join('/sys/fs/cgroup', name, 'machine'))
  const leftovers = [...groups, ...mountPoints].filter((path) => !exists(path))
  const child = spawn('setpriv', [...unshare, python, client], { stdio: ['pipe', 'pipe', 'pipe'] })
  const said: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk))
  bench.defer(async () => {
    child.stdin.end()
    const stopped = await Promise.race([
      once(child, 'exit'),
      new Promise((resolve) => setTimeout(resolve, 15_000)),
    ])
    if (!stopped) await endChild(child, 'SIGKILL')
    for (const path of leftovers) removeEmpty(path)
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const read = async (): Promise<Record<string, unknown>> => {
    const { done, value } = await lines.next()
    if (done) throw new Error(`libvirt ended: ${Buffer.concat(said).toString().trim().slice(-500)}`)
    return JSON.parse(value)
  }
  await read()
  return {
    async call(request) {
      child.stdin.write(`${JSON.stringify(request)}\n`)
      const { ms, error } = await read()
      if (typeof ms !== 'number') throw new Error(`libvirt failed at ${request.op}: ${error}`)
      return ms
    },
  }
}

function findMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'it takes root to run it in namespaces of its own.'
  const wanted = {
    'libvirt-daemon': '/usr/sbin/libvirtd',
    'libvirt-daemon (its QEMU driver)': `/usr/lib/${gnuArch()}/libvirt/connection-driver/libvirt_driver_qemu.so`,
    'python3-libvirt': '/usr/lib/python3/dist-packages/libvirt.py',
  }
  const absent = Object.entries(wanted).filter(([, path]) => !exists(path))
  return absent.length > 0 ? `not installed: ${absent.map(([name]) => name).join(', ')}.` : undefined
}

function gnuArch(): string {
  return process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
}

function exists(path: string): boolean {
  try {
    accessSync(path)
    return true
  } catch {
    return false
  }
}

/** A folder or control group that was not there before; one with something in it stays. */
function removeEmpty(path: string): void {
  try {
    if (statSync(path).isDirectory()) rmdirSync(path)
  } catch {
    // Never made, or in use.
  }
}
