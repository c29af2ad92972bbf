/** Pools whose volumes are on a server that machines reach by themselves. */
import type { VolumeAccess } from '../../driver/index.ts'
import { type PoolDefinition, VisorError } from '../../model/index.ts'
import { type ServerVolume, serverVolumes } from '../volumes/server/index.ts'
import { listIscsiUnits } from '../volumes/server/iscsi-units.ts'
import { listNbdExports } from '../volumes/server/nbd-exports.ts'
import type { PoolBackend, PoolSurroundings } from './backend.ts'

const nbdPort = 10_809
const iscsiPort = 3260

interface Server {
  list(signal?: AbortSignal): Promise<ServerVolume[]>
  addressOf(name: string): string
  access(name: string): VolumeAccess
}

/** A pool of type `nbd`: the exports of a server, or the one that is named. */
export const nbdPool = (definition: PoolDefinition): PoolBackend =>
  serverPool(definition, nbdServer(definition))

/** A pool of type `iscsi` or `iscsi-direct`: the disks of a target. The initiator is QEMU's own. */
export const iscsiPool = (definition: PoolDefinition, { secrets }: PoolSurroundings): PoolBackend =>
  serverPool(definition, iscsiServer(definition, secrets))

function serverPool({ name: pool }: PoolDefinition, server: Server): PoolBackend {
  return {
    volumes: serverVolumes({
      list: () => server.list(),
      addressOf: server.addressOf,
      access: server.access,
    }),
    isThere: async () => true,
    async start({ signal }) {
      const volumes = await server.list(signal)
      const names = new Set(volumes.map(({ volume }) => volume))
      if (names.size < volumes.length)
        throw new VisorError(
          'unsupported-config',
          `The server of the pool '${pool}' has two volumes of one name.`,
          {
            object: { kind: 'pool', name: pool },
          },
        )
    },
    async stop() {},
    async usage() {
      const sizes = (await server.list()).map(({ sizeBytes }) => sizeBytes)
      const bytes = sizes.reduce((sum, size) => sum + size, 0)
      return { capacityBytes: bytes, allocationBytes: bytes, availableBytes: 0 }
    },
  }
}

const spell = (host: string) => (host.includes(':') ? `[${host}]` : host)

function nbdServer({ source }: PoolDefinition): Server {
  const { name: host = '', port = nbdPort } = source.hosts[0] ?? {}
  return {
    async list(signal) {
      const names = source.name === undefined ? undefined : [source.name]
      const exports = await listNbdExports({ host, port }, { names, signal })
      if (names && exports.length === 0)
        throw new VisorError(
          'not-found',
          `The NBD server at ${host}:${port} has no export '${source.name}'.`,
          {
            remedy: `See which it has: qemu-nbd --list --bind ${host} --port ${port}`,
          },
        )
      return exports.map(({ name, sizeBytes }) => ({ volume: volumeName(name), name, sizeBytes }))
    },
    addressOf: (name) => `nbd://${spell(host)}:${port}/${encodeURIComponent(name)}`,
    access: (name) => ({
      type: 'network',
      protocol: 'nbd',
      name,
      hosts: [{ name: host, port }],
      format: 'raw',
    }),
  }
}

/** Names of exports are any text; the one without a name is the server's default. */
const volumeName = (name: string): string =>
  name === ''
    ? 'default'
    : /^(?!\.)[^/%\p{Cc}]{1,255}$/u.test(name)
      ? name
      : encodeURIComponent(name).slice(0, 255)

function iscsiServer({ source }: PoolDefinition, secrets: PoolSurroundings['secrets']): Server {
  const { name: host = '', port = iscsiPort } = source.hosts[0] ?? {}
  const target = source.devices[0]?.path ?? ''
  const { initiator, auth } = source
  const named = (unit: number) => `${target}/${unit}`

  return {
    async list(signal) {
      const password = auth && (await secrets.value(auth.secret, 'iscsi')).toString()
      const login = auth && password !== undefined ? { username: auth.username, password } : undefined
      const list = (keyFile: string | undefined) =>
        listIscsiUnits(
          { host, port, target, initiator, login },
          (unit) => ({
            ...{ protocol: 'iscsi', name: named(unit), host, port, initiator },
            ...(auth && keyFile !== undefined && { login: { username: auth.username, keyFile } }),
          }),
          signal,
        )
      const secret = auth && (auth.secret.uuid ?? auth.secret.usage)
      const units = await secrets.withFile(secret, list)
      // As libvirt names them.
      return units.map(({ unit, sizeBytes }) => ({
        volume: `unit:0:0:${unit}`,
        name: named(unit),
        sizeBytes,
      }))
    },
    addressOf: (name) => `iscsi://${spell(host)}:${port}/${name}`,
    access: (name) => ({
      ...{ type: 'network', protocol: 'iscsi', name, hosts: [{ name: host, port }], format: 'raw' },
      ...(auth && { auth: { username: auth.username, secret: auth.secret } }),
      ...(initiator !== undefined && { initiator }),
    }),
  }
}
