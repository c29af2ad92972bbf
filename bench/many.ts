import type { CompleteConnection } from '../src/index.ts'
import { guestNames, libvirtDefinition, makeGuest, visorDefinition } from './guest.ts'
import type { Workbench } from './harness.ts'
import { openLibrary } from './ours/library.ts'
import { openVisord } from './ours/visord.ts'
import { type Libvirt, openLibvirt } from './peers/libvirt.ts'

export const manyCount = 1000

/** A thousand defined domains everywhere. */
export async function openMany(
  bench: Workbench,
): Promise<{ library: CompleteConnection; rest: CompleteConnection; libvirt: Libvirt | undefined }> {
  const library = await openLibrary(bench)
  const rest = (await openVisord(bench)).connection
  const libvirt = await openLibvirt(bench)
  await defineMany(bench, library)
  await defineMany(bench, rest)
  if (libvirt) await defineManyInLibvirt(bench, libvirt)
  return { library, rest, libvirt }
}

/** Defines them, some at a time. */
export async function defineMany({ directory }: Workbench, { domains }: CompleteConnection): Promise<void> {
  const guest = await makeGuest(directory)
  const names = guestNames(manyCount)
  for (let next = 0; next < names.length; next += 20)
    await Promise.all(
      names.slice(next, next + 20).map((name) => domains.define(visorDefinition({ ...guest, name }))),
    )
}

export async function defineManyInLibvirt({ directory }: Workbench, libvirt: Libvirt): Promise<void> {
  const guest = await makeGuest(directory)
  for (const name of guestNames(manyCount))
    await libvirt.call({ op: 'define', xml: libvirtDefinition({ ...guest, name }) })
}
