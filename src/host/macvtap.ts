/**
 * Macvtaps: links of their own on a network card of this host, whose other end is a process. Unlike a tap, one stays
 * when nobody has it open: it has a mark, by which it is found again. Source: ip-link(8), the kernel's macvtap.c.
 */
import { closeSync, existsSync, openSync } from 'node:fs'
import { access, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { VisorError } from '../model/index.ts'
import { runTool } from './network-tools.ts'
import { run } from './process.ts'
import { attachTap, type Tap } from './tap.ts'

export interface MacvtapOptions {
  /** Name of the link; undefined for one that is free. */
  readonly name: string | undefined
  /** Network card of the host. */
  readonly on: string
  readonly mode: 'vepa' | 'bridge' | 'private' | 'passthrough'
  readonly mac: string | undefined
  readonly queues?: number | undefined
  readonly mtu?: number | undefined
  /** What {@link markedLinks} finds it by. */
  readonly mark: string
}

/**
 * Makes a macvtap and turns it on. Fails with `not-found` when the card is not there, `already-exists` when another
 * has the name, else `denied` or `failed`; nothing is left then.
 */
export async function openMacvtap(options: MacvtapOptions): Promise<Tap> {
  const { on, mac, queues = 1, mtu, mark } = options
  await access(`/sys/class/net/${on}`).catch((cause) => {
    throw new VisorError('not-found', `There is no network link '${on}' on this host.`, {
      cause,
      remedy: "Name one that is there: 'ip link' tells them.",
    })
  })
  const name = await makeLink(options)
  try {
    await runTool('ip', ['link', 'set', 'dev', name, 'alias', mark])
    const size = mtu === undefined ? [] : ['mtu', String(mtu)]
    const address = mac === undefined ? [] : ['address', mac]
    await runTool('ip', ['link', 'set', 'dev', name, ...address, ...size, 'up'])
    const descriptors = await openQueues(name, queues)
    const close = () => {
      for (const fd of descriptors.splice(0)) closeSync(fd)
    }
    return { name, descriptors: [...descriptors], close }
  } catch (error) {
    await runTool('ip', ['link', 'del', 'dev', name]).catch(() => {})
    throw error
  }
}

async function makeLink({ name, on, mode }: MacvtapOptions): Promise<string> {
  const kind = mode === 'passthrough' ? 'passthru' : mode
  const make = (one: string) =>
    runTool('ip', ['link', 'add', 'link', on, 'name', one, 'type', 'macvtap', 'mode', kind])
  if (name !== undefined) {
    await make(name)
    return name
  }
  for (let number = 0; ; number++) {
    const free = `macvtap${number}`
    try {
      await make(free)
      return free
    } catch (error) {
      const isTaken = error instanceof VisorError && /File exists/u.test(error.message)
      if (!isTaken || number > 10_000) throw error
    }
  }
}

/** Its device is opened by a node of our own: that in /dev is named by a number that other namespaces have as well. */
async function openQueues(name: string, queues: number): Promise<number[]> {
  const folder = `/sys/class/net/${name}/macvtap`
  const [tap = ''] = await readdir(folder)
  const [major = '', minor = ''] = (await readFile(join(folder, tap, 'dev'), 'latin1')).trim().split(':')
  const directory = await mkdtemp(join(tmpdir(), 'visor-macvtap-'))
  const descriptors: number[] = []
  try {
    const node = join(directory, 'tap')
    const made = await run('mknod', ['-m', '600', node, 'c', major, minor])
    if (made.code !== 0)
      throw new VisorError('denied', `The device of '${name}' cannot be made: ${made.stderr}`)
    for (let queue = 0; queue < queues; queue++) {
      const fd = openSync(node, 'r+')
      descriptors.push(fd)
      await attachTap(fd, name, queues > 1)
    }
    return descriptors
  } catch (error) {
    for (const fd of descriptors) closeSync(fd)
    throw error
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Links of this host with their marks, of those that have one that begins so. */
export async function markedLinks(begin: string): Promise<{ name: string; mark: string }[]> {
  const found: { name: string; mark: string }[] = []
  for (const name of await readdir('/sys/class/net')) {
    const mark = (await readFile(`/sys/class/net/${name}/ifalias`, 'utf8').catch(() => '')).trim()
    if (mark.startsWith(begin)) found.push({ name, mark })
  }
  return found
}

/** Removes a link that has this mark; one that has not, or is gone, is left alone. */
export async function removeMarked(name: string, mark: string): Promise<void> {
  const [found] = (await markedLinks(mark)).filter((one) => one.name === name && one.mark === mark)
  if (!found) return
  await runTool('ip', ['link', 'del', 'dev', name]).catch((error: unknown) => {
    // Its machine may have ended since, and taken it along.
    if (existsSync(`/sys/class/net/${name}`)) throw error
  })
}
