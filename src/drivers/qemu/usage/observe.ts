/** Consoles, pictures and numbers: what looks at machines and changes nothing. */
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Domains, Picture } from '../../../driver/index.ts'
import { openConsoleLog, readForeignFile } from '../../../host/index.ts'
import { type DomainStats, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { loggedPorts, logOf } from '../devices/ports/ports.ts'
import { isAtLeast } from '../emulator/emulator.ts'
import type { Registry } from '../registry.ts'
import { noUsage, usageReader } from './stats.ts'

/** A screen of 8192 by 8192, not packed. */
const longestPicture = 8192 * 8192 * 3 + 1024

type Observation = Required<Pick<Domains, 'stats' | 'openConsole' | 'consoleLog' | 'screenshot'>>

export function observation(context: Context, registry: Registry): Observation {
  async function statsOf(uuid: string, read: ReturnType<typeof usageReader>): Promise<DomainStats> {
    const { name, state, maxMemoryKiB } = registry.domain(uuid)
    const machine = registry.machine(uuid)
    const usage = machine ? await read(machine) : noUsage(maxMemoryKiB)
    return { uuid, name, state, ...usage }
  }

  return {
    stats({ domains } = {}) {
      const read = usageReader()
      const uuids = domains ?? [...registry.machines()].map(([uuid]) => uuid)
      return Promise.all(uuids.map((uuid) => statsOf(uuid, read)))
    },
    async openConsole(uuid, { device, scrollback = false } = {}) {
      const machine = registry.running(uuid)
      const port = machine.consoles.get(consoleAlias(machine.details.definition, device))
      if (!port) throw new VisorError('internal', `The console of '${uuid}' is not there.`)
      return port.open({ scrollback })
    },
    async consoleLog(uuid, { device, maxBytes } = {}) {
      const definition = registry.machine(uuid)?.details.definition ?? registry.definition(uuid)
      const alias = consoleAlias(definition, device)
      const port = loggedPorts(definition.devices).find((one) => one.alias === alias) ?? {
        type: 'pty',
        alias,
      }
      return openConsoleLog(logOf(port, context.paths.of(uuid))).tail(maxBytes)
    },
    async screenshot(uuid, { screen = 0 } = {}): Promise<Picture> {
      const { monitor, details } = registry.running(uuid)
      const { name, devices } = details.definition
      const video = findScreen(details.definition, screen)
      if (!video)
        throw new VisorError('invalid-argument', `Domain '${name}' has no screen ${screen}.`, {
          remedy:
            devices.videos.length === 0 || devices.videos[0]?.model === 'none'
              ? 'Give it a graphics card (videos) and start it anew.'
              : 'Screens are counted from 0.',
        })
      const { version } = await monitor.greeting
      const png = isAtLeast(`${version.major}.${version.minor}`, '7.1')
      const file = join(context.paths.of(uuid).folder, `screen-${randomUUID()}`)
      try {
        await monitor.execute('screendump', { filename: file, ...video, ...(png ? { format: 'png' } : {}) })
        return {
          mediaType: png ? 'image/png' : 'image/x-portable-pixmap',
          bytes: await readForeignFile(file, longestPicture),
        }
      } finally {
        await rm(file, { force: true })
      }
    },
  }
}

/** The card and the head of it that a screen is. */
function findScreen({ devices }: CompleteDefinition, screen: number) {
  let first = 0
  for (const { alias, model, heads = 1 } of devices.videos) {
    if (model === 'none') continue
    if (screen < first + heads) return { device: alias, head: screen - first }
    first += heads
  }
  return undefined
}

/** The serial port or console that is meant; the first one without `device`. */
function consoleAlias({ name, devices }: CompleteDefinition, device: string | undefined): string {
  const ports = loggedPorts(devices)
  const names = ports.map(({ alias = '' }, index) => ({ alias, names: [alias, `serial${index}`] }))
  const [first] = names
  // As in libvirt, the first console is the first serial port.
  const found =
    device === undefined || (device === 'console0' && devices.consoles[0]?.target === 'serial')
      ? first
      : names.find((one) => one.names.includes(device))
  if (found) return found.alias
  throw new VisorError(
    'invalid-argument',
    device === undefined
      ? `Domain '${name}' has no console.`
      : `Domain '${name}' has no console '${device}'.`,
    {
      remedy:
        ports.length === 0
          ? 'Give it a serial port (serials) and start it anew.'
          : `It has ${ports.map(({ alias }) => alias).join(', ')}.`,
    },
  )
}
