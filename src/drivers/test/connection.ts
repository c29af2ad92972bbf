import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Connection,
  eventHub,
  findMethod,
  type OpenOptions,
  operationList,
  type PartName,
} from '../../driver/index.ts'
import { type Capabilities, VisorError } from '../../model/index.ts'
import { openDomains } from './domains.ts'
import { type FaultSwitch, type Faults, faultSwitch, readFaults, readNumber } from './faults.ts'
import { type Hypervisor, openHypervisor, sampleDefinition } from './hypervisor.ts'

/** The fault switch of a connection and what its guests can be made to do. */
export interface TestFaults extends Faults {
  /** The guest falls over; nothing when it does not run. By uuid or name. */
  crash(domain: string): void
  /** Whether guests ignore their power and reboot buttons. */
  deaf(enabled: boolean): void
  /** So many events at once, of type `changed`. */
  floodEvents(domain: string, count: number): void
  /** The guest prints so many bytes, in lines of 64, at the speed of the event loop. */
  floodConsole(domain: string, bytes: number): Promise<void>
}

const switches = new WeakMap<Connection, TestFaults>()

/** The fault switch of a connection that the test driver opened (not of one wrapped around it). */
export function faultsOf(connection: Connection): TestFaults {
  const faults = switches.get(connection)
  if (!faults)
    throw new VisorError('invalid-argument', `${connection.uri} was not opened by the test driver.`)
  return faults
}

const known = ['keep', 'domains', 'running', 'deaf', 'delayMs', 'delay', 'fail', 'hang']

/**
 * Opens `test:///default`, with a running domain `test`, or `test:///empty`. The query sets the fault switch
 * ({@link readFaults}) and `domains=1000` (so many more), `running=100` (of them), `deaf=1`, `keep=1`
 * ({@link openHypervisor}). Fails with `invalid-argument`.
 */
export async function openTest(uri: URL, options: OpenOptions): Promise<Connection> {
  refuseUnknown(uri)
  const hub = eventHub()
  const faults = faultSwitch(uri.href)
  readFaults(uri.searchParams, faults)
  let deaf = uri.searchParams.get('deaf') === '1'
  const hypervisor = await openHypervisor(uri, options, (event) => hub.emit(event))
  if (hypervisor.all().length === 0) await populate(hypervisor, uri)
  const close = () => {
    hub.close()
    hypervisor.leave()
  }
  let lost = false
  faults.onLost = () => {
    lost = true
    close()
  }
  const connection = withFaults(
    {
      uri: uri.href,
      host: { info: async () => hypervisor.info(), capabilities: async () => [capabilities] },
      domains: openDomains(hypervisor, () => deaf),
      async *events(eventOptions) {
        yield* hub.listen(eventOptions)
        if (lost) await faults.before('events')
      },
      close: async () => close(),
    },
    faults,
  )
  switches.set(connection, {
    ...faults,
    ...guestFaults(hypervisor),
    deaf(enabled) {
      deaf = enabled
    },
  })
  return connection
}

function refuseUnknown({ pathname, searchParams }: URL): void {
  if (pathname !== '/default' && pathname !== '/empty')
    throw new VisorError('invalid-argument', `The test driver has no '${pathname}'.`, {
      remedy: 'Open test:///default or test:///empty.',
    })
  const unknown = [...searchParams.keys()].find((key) => !known.includes(key))
  if (unknown !== undefined)
    throw new VisorError('invalid-argument', `A test URI has no option '${unknown}'.`, {
      remedy: `It has ${known.join(', ')}.`,
    })
}

async function populate(hypervisor: Hypervisor, { pathname, searchParams }: URL): Promise<void> {
  if (pathname === '/default') {
    const { guest, defined } = await hypervisor.put(sampleDefinition('test', 1))
    guest.boot(defined.definition)
  }
  const readCount = (key: string) => readNumber(key, searchParams.get(key) ?? '0')
  const count = readCount('domains')
  const running = readCount('running')
  for (let number = 1; number <= count; number++) {
    const name = `guest-${String(number).padStart(4, '0')}`
    const { guest, defined } = await hypervisor.put(sampleDefinition(name, number + 1))
    if (number <= running) guest.boot(defined.definition)
  }
}

/** The same connection with the switch before every operation. */
function withFaults(connection: Connection, faults: FaultSwitch): Connection {
  const parts: Partial<Record<PartName, Record<string, unknown>>> = {}
  for (const { name, part, method, operation } of operationList) {
    const found = findMethod(connection, name) as ((...args: unknown[]) => Promise<unknown>) | undefined
    if (!found) continue
    const optionsAt = (operation.key ? 1 : 0) + (operation.body ? 1 : 0)
    parts[part] ??= {}
    parts[part][method] = async (...args: unknown[]) => {
      const { signal } = (args[optionsAt] ?? {}) as { signal?: AbortSignal }
      await faults.before(name, signal)
      return found.apply(connection[part], args)
    }
  }
  return { ...connection, ...parts } as Connection
}

function guestFaults(hypervisor: Hypervisor): Omit<TestFaults, keyof Faults | 'deaf'> {
  const find = (domain: string) =>
    hypervisor.find(hypervisor.domains.findByName(domain)?.definition.uuid ?? domain)
  return {
    crash(domain) {
      const { guest } = find(domain)
      if (guest.active) guest.crash()
    },
    floodEvents(domain, count) {
      const { guest } = find(domain)
      for (let left = count; left > 0; left--) guest.emit('changed', 'flood')
    },
    async floodConsole(domain, bytes) {
      const { guest } = find(domain)
      const line = `${'x'.repeat(62)}\r\n`
      for (let left = bytes; left > 0 && guest.active; left -= 64 * 64) {
        guest.print(line.repeat(Math.min(64, Math.ceil(left / 64))))
        await sleep(0)
      }
    },
  }
}

const capabilities: Capabilities = {
  driver: 'test',
  version: '1',
  kind: 'none',
  hosting: 'library',
  guests: [
    {
      arch: 'x86_64',
      osType: 'hvm',
      domainTypes: ['test'],
      machines: ['test'],
      defaultMachine: 'test',
      cpuModels: ['test'],
    },
  ],
  notes: ['Nothing is run: the guests of this driver exist only in memory, to try out and to test with.'],
}
