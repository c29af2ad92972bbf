/**
 * What a guest sees of its machine, which must be the same wherever it goes on. After libvirt's rules for the
 * definition that a migration may bring along ("Domain XML format"; virDomainDefCheckABIStability): where things
 * come from on the host may change, what they are to the guest may not.
 */
import { type DomainDefinition, VisorError } from '../../../model/index.ts'

type Fields = Readonly<Record<string, unknown>>

/** Of the host alone; all that is not here is the guest's. Names of lists and objects lead to what is left out of them. */
const ofHost: Readonly<Record<string, readonly string[]>> = {
  '': [
    ...['name', 'title', 'description', 'metadata', 'unknown', 'dumpCore', 'currentMemoryKiB'],
    ...['blkiotune', 'memtune', 'memoryBacking', 'cputune', 'numatune', 'vcpuPlacement', 'vcpuCpuset'],
    ...['onPoweroff', 'onReboot', 'onCrash'],
    ...['iothreadIds', 'defaultWorkersMinimum', 'defaultWorkersMaximum'],
  ],
  os: ['kernel', 'initrd', 'commandLine', 'deviceTree', 'loader', 'nvram', 'nvramTemplate', 'nvramFormat'],
  devices: ['emulator', 'graphics', 'audios'],
  disks: [
    ...['type', 'driver', 'format', 'cache', 'errorPolicy', 'readErrorPolicy', 'io', 'copyOnRead', 'discard'],
    ...['ioThread', 'detectZeroes', 'discardNoUnref', 'metadataCacheBytes', 'outerAuth', 'file', 'block'],
    ...['directory', 'protocol', 'name', 'query', 'tls', 'tlsHostname', 'tlsDirectory', 'pool', 'volume'],
    ...['poolMode', 'sourceType', 'managed', 'namespace', 'nvmeAddress', 'socket', 'startupPolicy', 'hosts'],
    ...['snapshot', 'configFile', 'initiator', 'cookies', 'sslVerify', 'readaheadBytes', 'timeoutSeconds'],
    ...['user', 'group', 'sshUser', 'sshAgent', 'knownHosts', 'slice', 'reservations', 'auth', 'encryption'],
    ...['backingStore', 'throttle', 'outerEncryption'],
  ],
  filesystems: ['source', 'socket', 'binary', 'threads', 'sandbox', 'cache', 'openFiles', 'writePolicy'],
  interfaces: [
    ...['type', 'network', 'bridge', 'dev', 'sourceType', 'path', 'sourceAddress', 'sourcePort', 'mode'],
    ...['localAddress', 'localPort', 'ips', 'target', 'managedTarget', 'backend', 'backendLog', 'sendMode'],
    ...['portForwards', 'link', 'romFile'],
  ],
  serials: ['type', 'mode', 'path'],
  consoles: ['type', 'mode', 'path'],
  channels: ['type', 'mode', 'path'],
  inputs: ['hostDevice', 'eventDevice', 'grab', 'grabToggle', 'repeat'],
  sounds: ['audio'],
  rngs: [
    'backend',
    'source',
    'daemonType',
    'daemonMode',
    'daemonPath',
    'daemonHost',
    'daemonService',
    'daemonProtocol',
    'rateBytes',
    'ratePeriodMs',
  ],
  tpms: ['backend', 'persistentState', 'device', 'sourceType', 'sourceMode', 'socket'],
  watchdogs: ['action'],
  memballoon: ['statsPeriodSeconds'],
  memories: ['path', 'access', 'discard', 'nodemask', 'pmem'],
}

/** Fails with `unsupported-config`, naming what differs. `who` wants `after`: `The definition`, `The hook`. */
export function checkGuestAbi(before: DomainDefinition, after: DomainDefinition, who: string): void {
  const found = firstDifference(before as unknown as Fields, after as unknown as Fields, '', '')
  if (found === undefined) return
  const { path, was, is } = found
  throw new VisorError(
    'unsupported-config',
    `${who} changes '${path}' of domain '${before.name}' from ${say(was)} to ${say(is)}, which its guest would see.`,
    {
      path,
      remedy:
        'Only where things come from on the host may change: files, networks, sockets, limits. Change the rest while it is off.',
    },
  )
}

interface Difference {
  readonly path: string
  readonly was: unknown
  readonly is: unknown
}

function firstDifference(before: Fields, after: Fields, place: string, at: string): Difference | undefined {
  const skipped = new Set(['unknown', ...(ofHost[place] ?? [])])
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (skipped.has(name)) continue
    const found = compare(before[name], after[name], name, at === '' ? name : `${at}.${name}`)
    if (found) return found
  }
  return undefined
}

function compare(was: unknown, is: unknown, place: string, path: string): Difference | undefined {
  if (Array.isArray(was) && Array.isArray(is)) {
    if (was.length !== is.length) return { path, was: `${was.length} of them`, is: `${is.length}` }
    return was
      .map((one, index) => compare(one, is[index], place, `${path}[${nameOf(one, index)}]`))
      .find(Boolean)
  }
  if (isFields(was) && isFields(is)) return firstDifference(was, is, place, path)
  return was === is || (isEmpty(was) && isEmpty(is)) ? undefined : { path, was, is }
}

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null
const isEmpty = (value: unknown) => value === undefined || (Array.isArray(value) && value.length === 0)

function nameOf(one: unknown, index: number): string {
  const { target, alias } = isFields(one) ? one : {}
  return String(target ?? alias ?? index)
}

function say(value: unknown): string {
  if (value === undefined) return 'nothing'
  return typeof value === 'object' ? 'something else' : `'${String(value)}'`
}
