/** Makes the QEMU of a domain that arrives listen for its memory and its disks. */
import type { PrepareMigrationOptions } from '../../../driver/index.ts'
import type { Migration } from '../../../model/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import { addCredentials, bracketed, defaultPorts, liveDisks, setCapabilities } from './channel.ts'
import type { ArrivingDisk } from './destination-disks.ts'

export type Listening = Pick<Migration, 'uri' | 'disks'>

/** Fails with `unsupported-config`, or `unavailable` when no port is free. */
export async function listen(
  context: Context,
  machine: Machine,
  options: PrepareMigrationOptions,
  disks: readonly ArrivingDisk[],
): Promise<Listening> {
  await machine.monitor.greeting
  await setCapabilities(machine, options, 'destination')
  const credentials = options.tls ? await addCredentials(context, machine, 'server') : undefined
  const copied = disks.filter(({ asked }) => asked.copy !== 'none')
  const uri = await listenForMemory(context, machine, options)
  if (copied.length === 0) return { uri, disks: [] }
  const server = await listenForDisks(context, machine, options, credentials)
  const nodes = await liveDisks(machine)
  return {
    uri,
    disks: await Promise.all(
      copied.map(async ({ disk: { alias = '', target } }) => {
        const node = nodes.get(alias)?.node
        if (node === undefined) throw new VisorError('internal', `The disk '${target}' has no node.`)
        await machine.monitor.execute('block-export-add', {
          type: 'nbd',
          id: `migration-${target}`,
          'node-name': node,
          name: target,
          writable: true,
        })
        return { name: target, uri: server(target) }
      }),
    ),
  }
}

/** Where the memory is received; `command` is what makes QEMU listen. */
export async function listenForMemory(
  context: Context,
  machine: Machine,
  { transport, address = '' }: Pick<PrepareMigrationOptions, 'transport' | 'address'>,
  command: 'migrate-incoming' | 'migrate-recover' = 'migrate-incoming',
): Promise<string> {
  const { monitor, details } = machine
  if (transport === 'unix') {
    const uri = `unix:${context.paths.of(details.definition.uuid).socket('migration')}`
    await monitor.execute(command, { uri })
    return uri
  }
  const { first, last } = context.migration.ports ?? defaultPorts
  const host = bracketed(address)
  await monitor.execute(command, { uri: `tcp:${host}:${first},to=${last}` }).catch((cause) => {
    throw cannotListen(address, cause)
  })
  const answer = await monitor.execute('query-migrate')
  const addresses = isRecord(answer) ? answer['socket-address'] : undefined
  const bound = Array.isArray(addresses) ? addresses.find(isRecord) : undefined
  return `tcp:${host}:${String(bound?.port ?? first)}`
}

/** Where a disk is received, by its name. */
async function listenForDisks(
  context: Context,
  { monitor, details }: Machine,
  { transport, address = '' }: PrepareMigrationOptions,
  credentials: string | undefined,
): Promise<(name: string) => string> {
  const tls = credentials ? { 'tls-creds': credentials } : {}
  if (transport === 'unix') {
    const path = context.paths.of(details.definition.uuid).socket('disks')
    await monitor.execute('nbd-server-start', { addr: { type: 'unix', data: { path } }, ...tls })
    return (name) => `nbd+unix:///${encodeURIComponent(name)}?socket=${encodeURIComponent(path)}`
  }
  const { first, last } = context.migration.ports ?? defaultPorts
  for (let port = first; ; port++) {
    const addr = { type: 'inet', data: { host: address, port: String(port) } }
    try {
      await monitor.execute('nbd-server-start', { addr, ...tls })
      return (name) => `nbd://${bracketed(address)}:${port}/${encodeURIComponent(name)}`
    } catch (cause) {
      const taken = cause instanceof VisorError && /in use/iu.test(cause.message)
      if (!taken || port >= last) throw cannotListen(address, cause)
    }
  }
}

function cannotListen(address: string, cause: unknown): VisorError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new VisorError('unavailable', `The destination cannot listen at '${address}'. ${why}`, {
    cause,
    remedy:
      "Give an address of the destination: 'visor migrate --address'; its ports are 'migration.ports' in the configuration of its visord.",
  })
}
