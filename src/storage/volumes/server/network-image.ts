/** Images on servers as qemu-img(1) is told of them. Source: QEMU's block drivers nbd and iscsi (qapi/block-core.json). */
import { doubled, keyObject } from '../encryption.ts'

export interface NetworkPlace {
  readonly protocol: 'nbd' | 'iscsi'
  /** The export; or the target and the number of the unit, with a slash between. */
  readonly name: string
  readonly host: string
  readonly port: number
  readonly initiator?: string | undefined
  readonly login?: { readonly username: string; readonly keyFile: string } | undefined
}

/** How the image is named, and the flags that say how to read that. */
export function nameNetworkImage(place: NetworkPlace): {
  readonly flags: readonly string[]
  readonly name: string
} {
  const { protocol, name, host, port, initiator, login } = place
  const slash = name.lastIndexOf('/')
  const options =
    protocol === 'nbd'
      ? {
          driver: 'nbd',
          'server.type': 'inet',
          'server.host': host,
          'server.port': String(port),
          export: name,
        }
      : {
          driver: 'iscsi',
          transport: 'tcp',
          portal: `${host.includes(':') ? `[${host}]` : host}:${port}`,
          target: name.slice(0, slash),
          lun: name.slice(slash + 1),
          'initiator-name': initiator,
          user: login?.username,
          'password-secret': login && 'key',
        }
  const said = Object.entries({ ...options }).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${doubled(value)}`],
  )
  return { flags: [...keyObject(login?.keyFile), '--image-opts'], name: said.join(',') }
}
