/** What visord goes by: flags over environment over configuration file over defaults. */
import { resolve } from 'node:path'
import { type Directories, findDirectories, restPort } from '../host/index.ts'
import { formatIp, parse, parseIp, VisorError } from '../model/index.ts'
import { Config, readConfig } from './config.ts'
import type { Flags } from './flags.ts'

export interface Settings {
  readonly directories: Directories
  readonly config: Config
  /** Where to serve TCP; undefined: nowhere. */
  readonly tcp: TcpAddress | undefined
  /** Where to answer names of guests; undefined: nowhere. */
  readonly names: { readonly address: string; readonly port: number } | undefined
}

export interface TcpAddress {
  readonly host: string
  readonly port: number
  /** Whether the user said it: then no other port will do. */
  readonly asked: boolean
}

const defaultListen = `127.0.0.1:${restPort}`

/** Fails with `invalid-argument` when the configuration or a flag is wrong, or would be unsafe. */
export function findSettings(flags: Flags, env: NodeJS.ProcessEnv = process.env): Settings {
  const found = findDirectories(env)
  const directories = {
    ...found,
    state: resolve(flags.stateDir ?? found.state),
    runtime: resolve(flags.runtimeDir ?? found.runtime),
    config: resolve(flags.config ?? found.config),
  }
  const named = flags.config !== undefined || Boolean(env.VISOR_CONFIG)
  const fromFile = readConfig(directories.config, { named })
  const config = parse(Config, { ...fromFile, ...flags.overrides }, { code: 'invalid-argument' })
  return { directories, config, tcp: findTcp(config), names: findNames(config) }
}

function findTcp(config: Config): TcpAddress | undefined {
  const { listen = defaultListen, tls, allowUnencrypted } = config
  if (listen === 'none') return undefined
  const colon = listen.lastIndexOf(':')
  const host = listen.slice(0, colon).replace(/^\[|\]$/gu, '')
  const port = Number(listen.slice(colon + 1))
  if (port > 65_535) throw new VisorError('invalid-argument', `There is no port ${port} to listen on.`)
  if (!isLoopback(host) && !tls && !allowUnencrypted)
    throw new VisorError(
      'invalid-argument',
      `'${listen}' can be reached from elsewhere, and without TLS the token can be overheard on the way.`,
      {
        path: 'listen',
        remedy: "Set 'tls' in the configuration, or 'allowUnencrypted: true' where the network is trusted.",
      },
    )
  return { host, port, asked: config.listen !== undefined }
}

/** Of the loopback, and of nobody else's: some have 127.0.0.1, systemd-resolved has 127.0.0.53. */
const defaultNames = '127.0.0.83'
const dnsPort = 53

function findNames({ names = defaultNames }: Config): Settings['names'] {
  if (names === 'none') return undefined
  const [, bracketed, plain, port = dnsPort] = /^(?:\[(.+)\]|([\d.]+))(?::(\d+))?$/u.exec(names) ?? []
  const address = parseIp(bracketed ?? plain ?? '')
  if (!address || Number(port) > 65_535)
    throw new VisorError('invalid-argument', `'${names}' is no address with a port to answer names on.`, {
      path: 'names',
      remedy: "Such as 127.0.0.83:53; or 'none'.",
    })
  return { address: formatIp(address), port: Number(port) }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/u.test(host)
}
