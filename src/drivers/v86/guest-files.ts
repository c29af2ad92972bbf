/** Where the files of guests are. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { OpenOptions } from '../../driver/index.ts'
import { listDirectory, makePrivateDirectory } from '../../host/index.ts'
import { controlName } from './protocol.ts'

export interface GuestFiles {
  /** All guests that run, one directory each. */
  readonly guests: string
  directory(uuid: string): string
  control(uuid: string): string
  /** What a serial port printed. */
  console(uuid: string, port: number): string
  /** The state that visor keeps. */
  saved(uuid: string): string
  /** Uuids of the domains that have a saved state. */
  listSaved(): Promise<Set<string>>
  removeSaved(uuid: string): Promise<void>
  /** Empty logs for a machine that boots; what there is stays for one that goes on. */
  prepareConsoles(uuid: string, keep: boolean): Promise<void>
  removeConsoles(uuid: string): Promise<void>
  /** Uuids of the domains that have logs. */
  listConsoles(): Promise<string[]>
}

export function guestFiles({ stateDirectory, runtimeDirectory }: OpenOptions): GuestFiles {
  const runtime = join(runtimeDirectory, 'v86')
  const saved = join(stateDirectory, 'v86/saved')
  const directory = (uuid: string) => join(runtime, 'guests', uuid)
  const logs = join(stateDirectory, 'v86/consoles')
  const consoles = (uuid: string) => join(logs, uuid)
  const removeConsoles = (uuid: string) => rm(consoles(uuid), { recursive: true, force: true })
  return {
    guests: join(runtime, 'guests'),
    directory,
    control: (uuid) => join(directory(uuid), controlName),
    console: (uuid, port) => join(consoles(uuid), `serial${port}.log`),
    saved: (uuid) => join(saved, `${uuid}.state`),
    async listSaved() {
      await makePrivateDirectory(saved)
      const names = await listDirectory(saved)
      // A machine that was cut short while it wrote.
      for (const name of names) if (name.endsWith('.part')) await rm(join(saved, name), { force: true })
      return new Set(
        names.flatMap((name) => (name.endsWith('.state') ? [name.slice(0, -'.state'.length)] : [])),
      )
    },
    removeSaved: (uuid) => rm(join(saved, `${uuid}.state`), { force: true }),
    async prepareConsoles(uuid, keep) {
      if (!keep) await removeConsoles(uuid)
      await mkdir(consoles(uuid), { recursive: true, mode: 0o700 })
    },
    removeConsoles,
    listConsoles: () => listDirectory(logs),
  }
}
