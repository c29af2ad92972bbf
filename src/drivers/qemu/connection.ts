import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import manifest from '../../../package.json' with { type: 'json' }
import {
  type Connection,
  eventHub,
  type ListDomains,
  type OpenOptions,
  openDefinedDomains,
} from '../../driver/index.ts'
import {
  findCgroupHierarchies,
  guestOutputName,
  hostFiles,
  loadCalls,
  openConsoleLog,
  readHostInfo,
  readProcessor,
} from '../../host/index.ts'
import {
  type Capabilities,
  type Domain,
  type DomainDefinition,
  notFound,
  VisorError,
} from '../../model/index.ts'
import { guestAgent, thawGuest } from './agent/index.ts'
import { diskWork, settleAll } from './block/disk-work.ts'
import { blockOperations } from './block/operations.ts'
import { defaultMachine } from './board/machine-type.ts'
import { cloning, settleClones } from './clone/index.ts'
import type { Context } from './context.ts'
import { liveDefinition } from './definition/live-definition.ts'
import {
  type Emulator,
  findEmulator,
  findEmulators,
  findProgram,
  hostArchitecture,
  loadEmulator,
} from './emulator/emulator.ts'
import { type KvmState, loadKvm } from './emulator/kvm.ts'
import { lifecycle } from './lifecycle.ts'
import { deviceChanges, followUnplugs, settleDevices } from './live/devices.ts'
import { followChanges, liveChanges, settleChanges } from './live/index.ts'
import { openConfinement } from './machine/confinement.ts'
import { dumping } from './machine/dump.ts'
import { openHooks } from './machine/hooks.ts'
import { keyboard } from './machine/keyboard/keyboard.ts'
import { policies } from './machine/policies.ts'
import { power, startAgain } from './machine/power.ts'
import { saving } from './machine/save.ts'
import { openMigrations } from './migration/index.ts'
import { driverPaths } from './paths.ts'
import { openRegistry, type Registry } from './registry.ts'
import { keepingSnapshots, snapshotParts } from './snapshots/index.ts'
import { openTrees } from './snapshots/tree.ts'
import { openTemplates } from './templates/index.ts'
import { observation } from './usage/observe.ts'
import { timelines } from './usage/timeline.ts'

/** How often the logs of consoles are looked at, and cut when they have grown. */
const trimIntervalMs = 5_000

/**
 * Opens `qemu:///system` or `qemu:///session`: finds the guests that run, and settles what a daemon before
 * left half done. Fails with `unavailable` where there is no QEMU, `invalid-argument` for another path.
 */
export async function openQemu(uri: URL, options: OpenOptions): Promise<Connection> {
  if (!['', '/', '/system', '/session'].includes(uri.pathname))
    throw new VisorError('invalid-argument', `The QEMU driver has no '${uri.pathname}'.`, {
      remedy: 'Open qemu:///system or qemu:///session.',
    })
  const context = await openContext(options)
  const hub = eventHub()
  const registry = openRegistry(context, await openDefinedDomains(options.store, 'qemu'), hub)
  const { watch, settle } = policies(context, registry)
  registry.watchers.add(watch)
  const tellEnd = async (definition: DomainDefinition, reason: string) => {
    await context.hooks.tell('stopped', definition, reason)
    await context.hooks.tell('release', definition, reason)
  }
  registry.watchers.add(({ ended, details }) => {
    void ended.then(({ reason }) => tellEnd(details.definition, reason))
  })
  registry.watchers.add(({ ended, details }) => {
    void ended.then(() => context.networks?.leave(details.definition.uuid))
  })
  registry.watchers.add(followChanges(context, registry))
  registry.watchers.add(followUnplugs(context, registry))
  await registry.adopt()
  for (const { definition, reason, halfStarted } of registry.takeGone())
    void (halfStarted ? context.hooks.tell('release', definition, reason) : tellEnd(definition, reason))
  await Promise.all([...registry.machines()].map(([, machine]) => settleChanges(context, machine)))
  for (const [, machine] of registry.machines())
    await settleDevices(context, registry, machine).catch((error: unknown) =>
      options.log.warn({ error: String(error) }, 'A device that was plugged in or out could not be settled.'),
    )
  const trees = await openTrees(options.store)
  const work = diskWork(context, registry, trees)
  const { templates, close: closeTemplates } = await openTemplates({ context, registry, hub, work })
  await settleClones(context, registry)
  const basics = lifecycle(context, registry)
  const powerParts = power(context, registry)
  for (const [, machine] of registry.machines()) {
    // Not waited for: a guest that does not answer must not hold up the others.
    if (machine.details.frozen)
      void thawGuest(context, machine).catch((error: unknown) =>
        options.log.warn({ error: String(error) }, 'A frozen guest could not be thawed.'),
      )
    const { rebooting, restarting } = machine.details
    if (rebooting) powerParts.watchReboot(machine)
    if (restarting || (rebooting && machine.state.state === 'shutdown'))
      await startAgain(machine).catch((error: unknown) =>
        options.log.warn({ error: String(error) }, 'A reboot that was begun could not be finished.'),
      )
    else void settle(machine)
    void context.hooks.tell('reconnect', machine.details.definition)
  }
  await settleAll(work)
  // The files of a domain that has left are in use where it is.
  const snapshotsOf = (uuid: string) => work.trees.get(uuid).snapshots.length
  const moves = await openMigrations({ context, registry, undefine: basics.undefine, snapshotsOf })
  const trimming = setInterval(() => void trimLogs(registry), trimIntervalMs).unref()
  const { watchReboot: _, ...powerOperations } = powerParts
  return {
    uri: uri.href,
    host: {
      info: async () => readHostInfo(manifest.version),
      capabilities: async () => [await describeCapabilities(context)],
    },
    domains: {
      ...keepingSnapshots(work, basics),
      ...cloning(work),
      ...moves.domains,
      ...powerOperations,
      ...observation(context, registry),
      ...timelines(registry),
      ...dumping(registry),
      ...keyboard(registry),
      ...liveChanges(context, registry),
      ...deviceChanges(context, registry),
      save: saving(context, registry),
      list: async (filter) => listDomains(registry, filter),
      get: async (uuid) => registry.domain(uuid),
      async describe(uuid, { inactive = false } = {}) {
        const machine = registry.machine(uuid)
        return machine && !inactive
          ? liveDefinition(machine, context.paths.of(uuid))
          : structuredClone(registry.definition(uuid))
      },
    },
    ...snapshotParts(work),
    blocks: blockOperations(work),
    agent: guestAgent(context, registry),
    templates,
    migrations: moves.migrations,
    events: (eventOptions) => hub.listen(eventOptions),
    async close() {
      clearInterval(trimming)
      moves.close()
      await closeTemplates()
      await registry.close()
      hub.close()
    },
  }
}

export async function openContext(options: OpenOptions): Promise<Context> {
  const { stateDirectory, runtimeDirectory, store, log } = options
  const emulators = new Map<string, Promise<Emulator>>()
  const kvm = new Map<string, Promise<KvmState>>()
  const [found, cgroups] = await Promise.all([findEmulators(), findCgroupHierarchies()])
  if (found.length === 0)
    throw new VisorError('unavailable', "QEMU is not installed: there is no 'qemu-system-x86_64' in PATH.", {
      remedy:
        "Install it: 'apt install qemu-system-x86' on Debian and Ubuntu, 'dnf install qemu-kvm' on Fedora.",
    })
  if (cgroups.length === 0)
    log.warn(
      {},
      'No control group can be made here: guests run in that of visor, and end with it where a service manager ends all of it.',
    )
  const paths = driverPaths(stateDirectory, runtimeDirectory)
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 })
  await mkdir(paths.consoles, { recursive: true, mode: 0o711 })
  const confinement = openConfinement(options)
  const hooks = openHooks(options.hooks, log)
  // Every start needs them.
  void loadCalls()
  return {
    owner: stateDirectory,
    paths,
    store,
    log,
    cgroups,
    frozen: new Map(),
    linked: new Map(),
    confinement,
    hooks,
    networks: options.networks,
    storage: options.storage,
    connect: options.connect,
    migration: options.migration ?? {},
    async findEmulator(arch, path) {
      const known = found.find((one) => one.arch === arch)?.path
      const program = path ?? known ?? (await findEmulator(arch))
      if (program === undefined) return undefined
      // Only a QEMU is run to be asked, whatever path a definition names.
      if (
        !/^(?:qemu-system-\w+|qemu-kvm|kvm)(?:[-.][\w.-]+)?$/u.test(
          program.slice(program.lastIndexOf('/') + 1),
        )
      )
        return undefined
      if (!(await findProgram(program, ''))) return undefined
      return remember(emulators, `${arch} ${program}`, () => loadEmulator(store, log, arch, program))
    },
    kvm: (emulator) => remember(kvm, emulator.path, () => loadKvm(store, log, emulator.path)),
  }
}

/** One asking for all who want to know; a failed one is forgotten. */
function remember<T>(known: Map<string, Promise<T>>, key: string, ask: () => Promise<T>): Promise<T> {
  const there = known.get(key)
  if (there) return there
  const asked = ask()
  known.set(key, asked)
  asked.catch(() => known.delete(key))
  return asked
}

function listDomains(registry: Registry, { states, names, driver }: ListDomains = {}): Domain[] {
  if (driver !== undefined && driver !== 'qemu') return []
  const found: Domain[] = []
  for (const { definition } of registry.defined.all()) {
    if (names && !names.includes(definition.name)) continue
    const domain = registry.domain(definition.uuid)
    if (!states || states.includes(domain.state)) found.push(domain)
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function describeCapabilities(context: Context): Promise<Capabilities> {
  const emulators: Emulator[] = []
  for (const { arch, path } of await findEmulators()) {
    const emulator = await context.findEmulator(arch, path).catch((error: unknown) => {
      context.log.warn({ emulator: path, error: String(error) }, 'A QEMU does not run.')
      return undefined
    })
    if (emulator) emulators.push(emulator)
  }
  const own = hostArchitecture()
  const [first] = emulators
  if (!first) throw notFound('emulator', 'qemu-system')
  const native = emulators.find(({ arch }) => arch === own)
  const kvm = native
    ? await context.kvm(native)
    : { works: false, detail: `There is no QEMU for the host's own architecture, ${own}.` }
  const { flags } = readProcessor(hostFiles())
  return {
    driver: 'qemu',
    version: first.version,
    kind: kvm.works ? 'hardware-assisted' : 'emulation',
    hosting: 'hosted',
    guests: emulators.map((emulator) => describeGuest(emulator, kvm.works && emulator.arch === own)),
    notes: [
      kvm.works ? kvm.detail : `Guests are emulated (TCG): ${kvm.detail}`,
      ...(context.cgroups.length === 0
        ? ['No control group can be made here, so guests share that of visor.']
        : []),
      ...(flags.size === 0 ? ['The processor does not tell its features.'] : []),
    ],
  }
}

function describeGuest(
  { arch, path, machines, cpuModels }: Emulator,
  kvm: boolean,
): Capabilities['guests'][number] {
  return {
    arch,
    osType: 'hvm',
    domainTypes: kvm ? ['kvm', 'qemu'] : ['qemu'],
    emulator: path,
    machines: machines.flatMap(({ name, alias }) => (alias ? [alias, name] : [name])),
    defaultMachine: defaultMachine(arch, false),
    cpuModels: [...cpuModels],
  }
}

async function trimLogs(registry: Registry): Promise<void> {
  for (const [, { consoles, guest }] of registry.machines()) {
    const output = openConsoleLog(join(guest.directory, guestOutputName), 64 * 1024)
    for (const log of [output, ...[...consoles.values()].map((port) => port.log)])
      await log.trim().catch(() => {})
  }
}
