/**
 * Every driver there is, by the scheme of its addresses. To add one: its folder, its line here, its row in
 * test/architecture.test.ts. A driver is loaded when it is asked for, so one that is not used costs nothing.
 */
import type { Driver } from '../driver/index.ts'
import { VisorError } from '../model/index.ts'

const table = {
  qemu: async () => (await import('./qemu/index.ts')).driver,
  v86: async () => (await import('./v86/index.ts')).driver,
  test: async () => (await import('./test/index.ts')).driver,
} satisfies Record<string, () => Promise<Driver>>

export type DriverScheme = keyof typeof table

/** The schemes of all drivers, the one to prefer first. */
export const driverSchemes = Object.keys(table) as DriverScheme[]

/** The driver of a scheme. Fails with `invalid-argument` when there is none of it. */
export async function loadDriver(scheme: string): Promise<Driver> {
  if (!Object.hasOwn(table, scheme))
    throw new VisorError('invalid-argument', `There is no driver '${scheme}'.`, {
      remedy: `There are: ${driverSchemes.join(', ')}.`,
    })
  return table[scheme as DriverScheme]()
}
