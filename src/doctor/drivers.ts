import type { Driver } from '../driver/index.ts'

/** All drivers there are. Each is loaded only now: most commands need one or none. */
export async function loadDrivers(): Promise<Driver[]> {
  return []
}
