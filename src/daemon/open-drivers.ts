/** Opens the drivers; one that cannot run here is there too, and says why. */
import {
  type Connection,
  type Driver,
  type GuestUserOptions,
  type Log,
  type Member,
  type OpenOptions,
  type OperationName,
  type Store,
  supportedOperations,
} from '../driver/index.ts'
import { loadDriver } from '../drivers/index.ts'
import { type Capabilities, notFound, toVisorError, VisorError } from '../model/index.ts'

export interface OpenDriversOptions
  extends GuestUserOptions,
    Pick<OpenOptions, 'connect' | 'migration' | 'networks' | 'storage'> {
  /** Schemes, or whole addresses. */
  readonly drivers: readonly string[]
  readonly mode: string
  readonly stateDirectory: string
  readonly runtimeDirectory: string
  readonly hooks: string
  readonly store: Store
  readonly log: Log
}

export interface OpenDriver {
  readonly member: Member
  readonly operations: readonly OperationName[]
  /** Why it cannot run here. */
  readonly unavailable?: VisorError
}

/** Opens all at once, in the order given. Never fails because of one of them. */
export function openDrivers(options: OpenDriversOptions): Promise<OpenDriver[]> {
  return Promise.all(options.drivers.map((address) => openDriver(toUri(address, options.mode), options)))
}

/** What the drivers that know neither `system` nor `session` are opened as. */
const places: Readonly<Record<string, string>> = { test: 'default?keep=1' }

/** A bare scheme means the driver's usual place. */
function toUri(address: string, mode: string): URL {
  return new URL(address.includes(':') ? address : `${address}:///${places[address] ?? mode}`)
}

async function openDriver(uri: URL, options: OpenDriversOptions): Promise<OpenDriver> {
  const { drivers: _drivers, mode: _mode, ...given } = options
  const scheme = uri.protocol.replace(/:$/u, '')
  const log = options.log.child({ driver: scheme })
  const driver = await loadDriver(scheme)
  const { domainTypes } = driver
  try {
    const connection = await driver.open(uri, { ...given, log })
    return { member: { scheme, domainTypes, connection }, operations: supportedOperations(connection) }
  } catch (cause) {
    const error = toVisorError(cause)
    log.warn({ error }, `The driver ${scheme} cannot be used on this host.`)
    const connection = unavailableConnection(driver, error)
    return { member: { scheme, domainTypes, connection }, operations: [], unavailable: error }
  }
}

/** Has no domains, and refuses to define one with the reason why. */
function unavailableConnection(driver: Driver, reason: VisorError): Connection {
  const { scheme } = driver
  const refuse = async (): Promise<never> => {
    throw new VisorError('unavailable', `Driver ${scheme} cannot be used on this host: ${reason.message}`, {
      cause: reason,
      remedy: reason.remedy ?? "'visor doctor' says what is missing; restart visord when it is there.",
    })
  }
  const none = async (uuid: string): Promise<never> => {
    throw notFound('domain', uuid)
  }
  return {
    uri: `${scheme}:///`,
    host: { info: refuse, capabilities: async () => [await describeAbsent(driver, reason)] },
    domains: { list: async () => [], get: none, describe: none, define: refuse, stats: async () => [] },
    async *events() {},
    async close() {},
  }
}

async function describeAbsent(driver: Driver, { message, remedy }: VisorError): Promise<Capabilities> {
  const { kind, hosting } = await driver.probe()
  const notes = [`Cannot be used on this host: ${message}`, ...(remedy ? [remedy] : [])]
  return { driver: driver.scheme, kind, hosting, guests: [], notes }
}
