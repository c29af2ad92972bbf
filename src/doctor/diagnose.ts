import { hostname } from 'node:os'
import { type Directories, type HostFiles, readHostInfo, readSystemName } from '../host/index.ts'
import { type ProbeResult, toVisorError } from '../model/index.ts'
import { conflicts } from './checks/conflicts.ts'
import { containers } from './checks/containers.ts'
import { kernel } from './checks/kernel.ts'
import { kvm } from './checks/kvm.ts'
import { describeEnvironment, processor } from './checks/processor.ts'
import { resources } from './checks/resources.ts'
import { toolTable } from './checks/tools.ts'
import type { CheckGroup, Diagnosis } from './diagnosis.ts'
import { type DriverSources, probeDrivers } from './probe-drivers.ts'
import { runChecks } from './run-checks.ts'
import { createSubject, type Subject } from './subject.ts'
import { summarize } from './summary.ts'

export interface DiagnoseOptions {
  readonly signal?: AbortSignal
  /** Whose probes are asked; all there are without it. */
  readonly drivers?: DriverSources
  /** The host's files; in tests a recorded tree. */
  readonly files?: HostFiles
  readonly user?: Subject['user']
  readonly directories?: Directories
  /** Directories that programs are looked for in; PATH and its like without it. */
  readonly programPath?: readonly string[]
  /** The port visord is to listen on. */
  readonly tcpPort?: number
}

const tables = [processor, kvm, kernel, containers, resources, toolTable, conflicts]

/**
 * Looks at everything that running guests depends on, and says what is there, why it matters and what to do.
 * Changes nothing and loads no kernel module. A check that fails or takes too long is reported as such, so
 * this fails only with `cancelled`.
 */
export async function diagnose(options: DiagnoseOptions = {}): Promise<Diagnosis> {
  const started = performance.now()
  const signal = options.signal ?? new AbortController().signal
  const probes = probeDrivers(options.drivers, signal)
  const subject = createSubject({ ...options, probes, signal })
  const [drivers, ...groups] = await Promise.all([
    probes,
    ...tables.map((table) => runChecks(table, subject)),
  ])
  if (signal.aborted) throw toVisorError(signal.reason)
  const shown = groups.map((group) => without(group, drivers))
  return {
    status: worst(
      [...drivers.flatMap(({ checks }) => checks), ...shown.flatMap(({ checks }) => checks)],
      drivers,
    ),
    summary: summarize(drivers, subject),
    host: describeHost(subject),
    drivers,
    groups: shown,
    elapsedMs: Math.round(performance.now() - started),
  }
}

/** What a driver's probe says itself is not said twice. */
function without(group: CheckGroup, drivers: readonly ProbeResult[]): CheckGroup {
  const said = new Set(drivers.flatMap(({ checks }) => checks.map(({ id }) => id)))
  return { ...group, checks: group.checks.filter(({ id }) => !said.has(id)) }
}

/** One driver that works is enough: what another one lacks is then a warning. */
function worst(
  checks: Diagnosis['groups'][number]['checks'],
  drivers: readonly ProbeResult[],
): Diagnosis['status'] {
  if (!drivers.some(({ available, driver }) => available && driver !== 'test')) return 'fail'
  const bad = (status: string) => checks.some((check) => check.status === status)
  return bad('fail') || bad('warn') ? 'warn' : 'pass'
}

function describeHost(subject: Subject): Diagnosis['host'] {
  const { cpuModel, cpus, arch, kernel: release, memoryKiB } = readHostInfo('', subject.files)
  return {
    hostname: hostname(),
    system: readSystemName(subject.files),
    kernel: release,
    arch,
    ...(cpuModel === undefined ? {} : { cpuModel }),
    cpus,
    memoryKiB,
    environment: describeEnvironment(subject),
  }
}
