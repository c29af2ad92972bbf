import type { Driver } from '../driver/index.ts'
import { driverSchemes, loadDriver } from '../drivers/index.ts'
import { type ProbeResult, toVisorError } from '../model/index.ts'
import { within } from './run-checks.ts'

/** Drivers by scheme, each loaded when it is asked. */
export type DriverSources = Readonly<Record<string, () => Promise<Driver>>>

/** A driver may start a guest to see whether it runs. */
const probeTimeoutMs = 30_000

/** Asks the drivers, all there are unless some are given, whether they can work. Never fails. */
export async function probeDrivers(
  sources: DriverSources | undefined,
  signal: AbortSignal,
): Promise<ProbeResult[]> {
  const all = sources ?? Object.fromEntries(driverSchemes.map((scheme) => [scheme, () => loadDriver(scheme)]))
  return await Promise.all(Object.entries(all).map(([scheme, load]) => probe(scheme, load, signal)))
}

async function probe(scheme: string, load: () => Promise<Driver>, signal: AbortSignal): Promise<ProbeResult> {
  try {
    return await within(probeTimeoutMs, async () => (await load()).probe({ signal }), signal)
  } catch (error) {
    const detail = `The driver could not say whether it works: ${toVisorError(error).message}`
    return {
      driver: scheme,
      available: false,
      kind: 'none',
      hosting: 'hosted',
      checks: [{ id: `${scheme}-probe`, title: 'Probe', status: 'fail', detail }],
    }
  }
}
