/** Interfaces of guests that are on networks, a file each: they live as long as the boot at most. */

import { existsSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readJsonFile, unlessMissing, writeFileAtomic } from '../host/index.ts'
import { NetworkPort, parse } from '../model/index.ts'

/** With the network by its uuid. */
export interface Port extends NetworkPort {
  readonly uuid: string
  readonly isolated: boolean
}

export interface Ports {
  all(): readonly Port[]
  of(uuid: string): readonly Port[]
  put(port: Port): Promise<void>
  remove(link: string): Promise<void>
}

/** Reads those whose links are still there; forgets the others. */
export async function openPorts(folder: string): Promise<Ports> {
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const ports = new Map<string, Port>()
  for (const name of (await unlessMissing(readdir(folder))) ?? []) {
    const port = readPort(await readJsonFile(join(folder, name)))
    if (port && existsSync(`/sys/class/net/${port.link}`)) ports.set(port.link, port)
    else await rm(join(folder, name), { force: true })
  }
  const fileOf = (link: string) => join(folder, `${encodeURIComponent(link)}.json`)
  return {
    all: () => [...ports.values()],
    of: (uuid) => [...ports.values()].filter((port) => port.uuid === uuid),
    async put(port) {
      await writeFileAtomic(fileOf(port.link), JSON.stringify(port), { durable: false })
      ports.set(port.link, port)
    },
    async remove(link) {
      ports.delete(link)
      await rm(fileOf(link), { force: true })
    },
  }
}

function readPort(value: unknown): Port | undefined {
  const { uuid, isolated, ...rest } = (value ?? {}) as Partial<Port>
  try {
    return typeof uuid === 'string'
      ? { ...parse(NetworkPort, rest), uuid, isolated: isolated === true }
      : undefined
  } catch {
    return undefined
  }
}
