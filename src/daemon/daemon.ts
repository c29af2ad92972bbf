/**
 * visord, put together.
 *
 *     starting --all open--> ready --stop()--> stopping --> stopped
 *        '------failure------> (what was opened is closed, the failure is told)
 */
import { rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openSchedules } from '../backup/index.ts'
import { connect } from '../connect/index.ts'
import {
  combine,
  type GuardedConnection,
  guard,
  type HostImages,
  type HostNetworks,
  type HostSchedules,
  type HostStorage,
  type Log,
  type OpenOptions,
  type Store,
} from '../driver/index.ts'
import {
  findCgroupHierarchies,
  identifyProcess,
  knock,
  openStore,
  type Presence,
  passOnControllers,
  readHostInfo,
  removePresence,
  restSocket,
  type Undo,
  withUndo,
  writePresence,
} from '../host/index.ts'
import { openNetworks } from '../network/index.ts'
import { type RestApp, restApp } from '../rest/index.ts'
import { openImages, openStorage } from '../storage/index.ts'
import { autostart } from './autostart.ts'
import type { Config } from './config.ts'
import { type HttpFront, serveHttp } from './http.ts'
import { listenTcp, listenUnix, urlOf } from './listen.ts'
import { createLogin, readToken, tokenFile } from './login.ts'
import { type Notifier, openNotifier } from './notify.ts'
import { type OpenDriver, openDrivers } from './open-drivers.ts'
import { claimDirectory } from './places.ts'
import type { Settings } from './settings.ts'
import { createTidier, tidyAfter } from './tidy.ts'
import { version } from './version.ts'

/** A running visord. */
export interface Daemon {
  readonly presence: Presence
  readonly connection: GuardedConnection
  /** Goes by another configuration in what can change while it runs: the token and `socketAccess`. */
  reload(config: Config): void
  /**
   * Stops in good order: accepts nothing more, ends streams, waits for operations under way, lets go of the
   * guests, which go on. Resolves when all is closed.
   */
  stop(): Promise<void>
}

/** What is open in a running visord. */
interface Parts {
  readonly settings: Settings
  readonly log: Log
  readonly notifier: Notifier
  readonly store: Store
  readonly networks: HostNetworks | undefined
  readonly storage: HostStorage
  readonly schedules: HostSchedules
  readonly connection: GuardedConnection
  readonly app: RestApp
  readonly reload: Daemon['reload']
  readonly fronts: readonly HttpFront[]
  readonly presence: Presence
}

/** How long connections may take to end after they were told to. */
const closeMs = 2_000

/**
 * Starts visord; resolves when everything is usable. Fails with `busy` when another one has the state
 * directory, the socket or the port, and then leaves nothing behind.
 */
export async function startDaemon(settings: Settings, log: Log): Promise<Daemon> {
  const startedAt = performance.now()
  const notifier = openNotifier()
  const parts = await withUndo(
    async (undo) => ({ notifier, ...(await open(settings, log, undo)) }),
    (error) => log.warn({ error }, 'Something could not be closed after the failed start.'),
  )
  const { presence, connection, reload } = parts
  writePresence(settings.directories.runtime, presence)
  const times = { openMs: round(performance.now() - startedAt), sinceSpawnMs: round(process.uptime() * 1000) }
  log.info({ ...presence, stateDirectory: settings.directories.state, ...times }, 'ready')
  await notifier.ready(`Serving on ${[presence.socket, presence.url].filter(Boolean).join(' and ')}`)

  const stopping = new AbortController()
  const background = startMarked(parts, stopping.signal)
  let stopped: Promise<void> | undefined
  return {
    presence,
    connection,
    reload,
    stop: () => {
      stopping.abort()
      stopped ??= stop(parts, background)
      return stopped
    },
  }
}

async function open(settings: Settings, log: Log, undo: Undo): Promise<Omit<Parts, 'notifier'>> {
  const { directories, config } = settings
  const { state, runtime, mode } = directories
  claimDirectory(state, 0o700)
  claimDirectory(runtime, mode === 'system' ? 0o755 : 0o700)
  const store = await openStore(join(state, 'store.db'))
  undo.push(() => store.close())
  const openLogin = ({ socketAccess }: Config) => createLogin({ token: readToken(state), socketAccess })
  let login = openLogin(config)
  const reload = (changed: Config): void => {
    login = openLogin(changed)
  }
  const places = { stateDirectory: state, runtimeDirectory: runtime }
  for (const { controller, parent } of await findCgroupHierarchies())
    if (controller === '2') await passOnControllers(parent)
  const { drivers, guestUser, guestUids, migration } = config
  const hooks = config.hooks ?? join(dirname(directories.config), 'hooks')
  const users = {
    ...(guestUser !== undefined && { guestUser }),
    ...(guestUids && { guestUids }),
    ...(migration && { migration }),
    connect: connectPeer(directories),
  }
  const networks = await openNetworks({
    ...places,
    store,
    names: settings.names,
    log: log.child({ part: 'networks' }),
  })
  const images = openImages({ stateDirectory: state, log })
  const storage = await openStorage({ ...places, store, images, log: log.child({ part: 'storage' }) })
  const opened = await openDrivers({
    drivers,
    mode,
    hooks,
    ...places,
    ...users,
    networks: networks?.guests,
    storage: storage.guests,
    store,
    log,
  })
  const schedules = await openSchedules({ store, log: log.child({ part: 'schedules' }) })
  const connection = combineDrivers(opened, { networks, storage, images, schedules }, settings, log)
  undo.push(() => connection.close())
  const tidier = createTidier()
  undo.push(() => tidier.stop())
  const app = tidyAfter(
    tidier,
    restApp({
      connection,
      authenticate: (request, context) => login(request, context),
      info: { version, drivers: operationsOf(opened) },
      log,
      allowedHosts: config.allowedHosts,
    }),
  )
  const { fronts, presence: front } = await listen(settings, app, log, undo)
  const presence = { ...front, ...(networks?.names && { names: networks.names }) }
  return { settings, log, store, networks, storage, schedules, connection, app, reload, fronts, presence }
}

/** The way in over TCP first: when the socket is there, all is. */
async function listen({ config, directories, tcp }: Settings, app: RestApp, log: Log, undo: Undo) {
  const fronts: HttpFront[] = []
  undo.push(() => Promise.all(fronts.map((front) => front.close(0))))
  const server = tcp && (await listenTcp(tcp, config))
  if (server) fronts.push(serveHttp(server, { app, transport: 'tcp', secure: config.tls !== undefined, log }))
  const socket = restSocket(directories)
  const local = await listenUnix(socket, config)
  fronts.push(serveHttp(local, { app, transport: 'unix', secure: false, log }))
  const presence: Presence = {
    pid: process.pid,
    startTime: identifyProcess(process.pid)?.startTime ?? '',
    version,
    socket,
    ...(server && { url: urlOf(server, config) }),
    tokenFile: tokenFile(directories.state),
  }
  return { fronts, presence }
}

/** How drivers reach other hosts. Without a token of theirs, none is sent: ours is nobody else's business. */
function connectPeer(directories: Settings['directories']): NonNullable<OpenOptions['connect']> {
  return async (uri, { token = '' }) => connect(uri, { token, directories })
}

async function stop({ settings, log, notifier, ...parts }: Parts, background: Promise<void>): Promise<void> {
  const { connection, store, app, fronts, presence } = parts
  const patienceMs = settings.config.stopTimeoutSeconds * 1000
  await notifier.stopping()
  removePresence(settings.directories.runtime)
  // No new requests, but those under way are still answered when their operations are done.
  const closed = fronts.map((front) => front.close(patienceMs + closeMs))
  rmSync(presence.socket, { force: true })
  app.close()
  await background
  if (!(await connection.jobBook.idle(patienceMs)))
    log.warn({ jobs: await unfinished(connection) }, 'Operations were still under way at the end.')
  await Promise.all(closed)
  await connection.close()
  await store.close()
  log.info({}, 'stopped')
}

/** What starts with the host; schedules are kept once that is there. */
async function startMarked(parts: Parts, signal: AbortSignal): Promise<void> {
  await startMachines(parts, signal)
  parts.schedules.begin(parts.connection)
}

async function startMachines(
  { settings, networks, storage, connection, log }: Parts,
  signal: AbortSignal,
): Promise<void> {
  if (!settings.config.autostart) return
  await storage.autostart()
  await networks?.autostart()
  try {
    await autostart({ connection, runtimeDirectory: settings.directories.runtime, log, signal })
  } catch (error) {
    log.error({ error }, 'The domains marked for it could not be started with the host.')
  }
}

function combineDrivers(
  opened: readonly OpenDriver[],
  {
    networks,
    storage,
    images,
    schedules,
  }: Pick<Parts, 'networks' | 'storage' | 'schedules'> & { images: HostImages },
  { directories }: Settings,
  log: Log,
): GuardedConnection {
  const all = combine(
    opened.map(({ member }) => member),
    {
      uri: `visor:///${directories.mode}`,
      info: async () => readHostInfo(version),
      images,
      storage,
      knock,
      schedules,
      ...(networks && { networks }),
      log,
    },
  )
  return guard(all, { log })
}

function operationsOf(opened: readonly OpenDriver[]) {
  return Object.fromEntries(opened.map(({ member, operations }) => [member.scheme, operations]))
}

async function unfinished({ jobs }: GuardedConnection): Promise<object[]> {
  const all = await jobs.list()
  return all
    .filter(({ endedAt }) => endedAt === undefined)
    .map(({ id, operation, target }) => ({ id, operation, target }))
}

function round(milliseconds: number): number {
  return Math.round(milliseconds)
}
